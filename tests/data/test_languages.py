import subprocess
import sys

import pytest

from seqloom.data.languages import (
    CJK,
    CODES,
    OWN_SCRIPTS,
    SURE,
    Direction,
    detect,
    find_language,
    is_code,
    is_reversed,
    require_code,
    same_language,
    settle,
)
from seqloom.errors import ConfigError, shown

ENGLISH = """I would like a cup of tea.
Where did you leave the keys?
The train to the coast leaves at nine.
She has lived in this town for twenty years.
We were too tired to cook.
Please close the window before it rains.
My brother plays the piano quite well.
There is nothing in the fridge.
They moved to a smaller flat last spring.
Do not forget to water the plants.""".splitlines()

GERMAN = """Ich hätte gern eine Tasse Tee.
Wo hast du die Schlüssel gelassen?
Der Zug an die Küste fährt um neun.
Sie wohnt seit zwanzig Jahren in dieser Stadt.
Wir waren zu müde, um zu kochen.
Bitte mach das Fenster zu, bevor es regnet.
Mein Bruder spielt recht gut Klavier.
Im Kühlschrank ist nichts mehr.
Im Frühling sind sie in eine kleinere Wohnung gezogen.
Vergiss nicht, die Blumen zu gießen.""".splitlines()

BY_SCRIPT = {
    "zh": [
        "我想喝一杯茶。",
        "你把钥匙放在哪儿了？",
        "用 std::vector 的 push_back 添加元素。",
        "第 3 章：安装 Python 3.12",
    ],
    "ja": ["お茶を一杯ください。", "鍵をどこに置きましたか。", "東京都知事選挙の結果が発表された。"],
    "ko": ["차 한 잔 주세요.", "열쇠를 어디에 두었어요?", "韓國의 수도는 서울이다."],
    "th": ["ขอชาหนึ่งแก้ว", "คุณวางกุญแจไว้ที่ไหน"],
    "el": ["Θα ήθελα ένα φλιτζάνι τσάι.", "Πού άφησες τα κλειδιά;"],
    "ka": ["ერთი ჭიქა ჩაი მინდა."],
    "ta": ["எனக்கு ஒரு கோப்பை தேநீர் வேண்டும்."],
}


@pytest.mark.parametrize("language", BY_SCRIPT)
def test_the_script_decides_where_it_can(language, monkeypatch):
    monkeypatch.setattr("seqloom.data.languages._identifier", lambda: pytest.fail("the model was asked"))
    assert detect(BY_SCRIPT[language] * 7) == (language, 1.0)


@pytest.mark.parametrize(("texts", "language"), [(ENGLISH, "en"), (GERMAN, "de")])
def test_languages_that_share_a_script_are_told_by_a_model(texts, language):
    found, confidence = detect(texts * 13)
    assert found == language
    assert 0.95 < confidence <= 1


def test_a_few_words_of_another_script_change_nothing():
    assert detect([f"{line} 茶" for line in ENGLISH])[0] == "en"


@pytest.mark.parametrize(
    "texts",
    [
        ["1 2 3", "4 5 6"] * 50,
        ["nul ein zwo.", "dri vir funf.", "sext sep okt nov."] * 50,
        ENGLISH * 5 + GERMAN * 5,
        ["我想喝一杯茶。"] * 500 + ENGLISH * 50,
        ["x = y + z", "foo.bar()", "return 0;"] * 50,
    ],
    ids=["digits", "no language", "two languages", "two scripts", "code"],
)
def test_what_cannot_be_told_has_a_low_confidence(texts):
    assert detect(texts)[1] < SURE


@pytest.mark.parametrize("texts", [[], ["", " "], ["!?"]])
def test_without_letters_there_is_no_confidence(texts):
    assert detect(texts)[1] < 0.2


def test_the_model_is_loaded_only_when_it_is_asked():
    program = "import sys, seqloom.data.languages as l; l.detect(['我想喝一杯茶。']); print('py3langid' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("zh", "zh", True),
        ("zh", "ZH-cn", True),
        ("zh_CN", "zh-cn", True),
        ("zh-CN", "zh-TW", False),
        ("zh", "en", False),
        ("zh-Hant-TW", "zh-Hant", True),
        ("sr@latin", "sr", True),
        ("e", "en", False),
    ],
)
def test_same_language(one, other, same):
    assert same_language(one, other) is same
    assert same_language(other, one) is same


@pytest.mark.parametrize(
    ("wanted", "among", "found"),
    [
        ("zh", ["en", "zh-CN"], ["zh-CN"]),
        ("zh", ["zh-CN", "zh-TW"], ["zh-CN", "zh-TW"]),
        ("zh", ["zh-CN", "zh"], ["zh"]),
        ("zh_cn", ["zh", "zh-TW", "zh-CN"], ["zh-CN"]),
        ("fr", ["en", "", "zh"], []),
    ],
)
def test_find_language(wanted, among, found):
    assert find_language(wanted, among) == found


@pytest.mark.parametrize(
    ("found", "src", "tgt", "settled"),
    [
        (["en", "zh"], "", "", ("en", "zh")),
        (["en", "zh"], "zh", "", ("zh", "en")),
        (["en", "zh"], "", "en", ("zh", "en")),
        (["en-US", "zh-CN"], "zh", "en", ("zh-CN", "en-US")),
        (["en", "zh", "fr"], "zh", "en", ("zh", "en")),
        (["en", "zh", "fr"], "zh", "", None),
        (["en", "zh", "fr"], "", "", None),
        (["en"], "", "", None),
        (["en", "zh"], "de", "", None),
        (["en", "zh-CN", "zh-TW"], "en", "zh", None),
        (["en", "zh"], "zh-CN", "zh-TW", None),
    ],
)
def test_settle(found, src, tgt, settled):
    assert settle(found, src, tgt) == settled


@pytest.mark.parametrize(
    ("named", "wanted", "turned"),
    [
        (("en", "zh"), ("en", "zh"), False),
        (("en", "zh"), ("zh-CN", "en"), True),
        (("en", "zh"), ("", ""), False),
        (("", "zh"), ("zh", ""), True),
        (("", "zh"), ("", "zh"), False),
        (("", "zh"), ("zh", "en"), True),
        (("en", ""), ("zh", "en"), True),
        (("", ""), ("zh", "en"), False),
        (("en", "zh"), ("en", "de"), None),
        (("", "de"), ("en", "zh"), None),
    ],
)
def test_is_reversed(named, wanted, turned):
    assert is_reversed(named, wanted) is turned


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("en-de", ("en", "de")),
        ("zh-CN-en", ("zh-CN", "en")),
        ("en-zh_Hant-TW", ("en", "zh_Hant-TW")),
        ("pt-BR-es-419", ("pt-BR", "es-419")),
        ("klingon-en", ("klingon", "en")),
    ],
)
def test_direction(text, direction):
    parsed = Direction.parse(text)
    assert parsed == direction
    assert str(parsed) == text
    assert parsed.tag == f"<2{direction[1]}>"
    assert parsed.reverse == direction[::-1]


@pytest.mark.parametrize("text", ["", "en", "en-", "-de", "en-pt-br", "EN-DE", "en de", "en-de-fr"])
def test_what_is_no_direction(text):
    with pytest.raises(ConfigError) as error:
        Direction.parse(text)
    assert str(error.value) == f"{text!r} is no direction, expected source-target such as en-de or en-zh-TW"


def test_codes():
    assert {"zh", "en", "de"} | CJK.keys() | OWN_SCRIPTS.keys() <= CODES
    assert len(CODES) == 183 + 1  # with bh, which was withdrawn
    assert all(map(is_code, ["en", "zh_Hant-TW", "sr@latin", "klingon"]))
    assert not any(map(is_code, ["", "e", "en de", "en.", "我", "simplifiedchinese", "I'm"]))


@pytest.mark.parametrize("text", ["", "en", "zh-TW", "zh_Hant-TW", "sr@latin", "yue", "qaa", "xx"])
def test_a_code_is_a_language(text):
    require_code(text, "--src-lang")


@pytest.mark.parametrize("text", ["english", "e", "/tmp/train.en", "train.en", "en,de", "en-", "我", "e\x1b[31m"])
def test_what_is_no_language_is_asked_for(text):
    with pytest.raises(ConfigError) as error:
        require_code(text, "--src-lang")
    assert str(error.value) == (
        f"--src-lang {shown(text)}: is no code of a language, expected one such as en or zh-TW (qaa for what is none)"
    )
