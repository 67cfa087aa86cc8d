"""Text that was decoded wrongly is found, and what is only foreign is not."""

import pytest

from seqloom.data.checks.characters import Texts
from seqloom.data.checks.encoding import mojibake

CHINESE = ["我们今天去市场买水果和蔬菜。", "这是一个很长的句子，里面有很多汉字。", "他说：“明天见！”"]
GERMAN = ["Die Straße führt über die Brücke.", "Schöne Grüße an alle Äpfel und Öfen.", "„Ja“, sagte er – „natürlich“."]
OTHERS = [
    "Où est l'hôtel ? « Ici », dit-il.", "¿Dónde está el niño? ¡Aquí!", "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "Zażółć gęślą jaźń", "Это обычное предложение. РСФСР и СССР.", "Η γρήγορη καφετιά αλεπού", "İstanbul'da çok güzel",
    "Ångström, naïve café… “quoted” — 5 °C ± 2 £", "MENÜ’s „Ä“ und «É»", "日本語の文章です。", "한국어 문장입니다.",
    "ÄÖÜ äöüß", "São Paulo às 10h", "x ≥ 5 · y ² ³", "Đây là tiếng Việt có dấu ạ ế ộ",
]  # fmt: skip


def misread(text: str, written: str, read: str) -> str:
    return text.encode(written).decode(read, "replace")


@pytest.mark.parametrize(
    ("texts", "written", "read", "writes_han"),
    [
        (CHINESE, "utf-8", "latin-1", True), (CHINESE, "utf-8", "cp1252", True), (CHINESE, "utf-8", "gbk", True),
        (CHINESE, "gb18030", "latin-1", True), (CHINESE, "gb18030", "cp1252", True),
        (CHINESE, "utf-8", "gb18030", True),
        (GERMAN, "utf-8", "latin-1", False), (GERMAN, "utf-8", "cp1252", False), (GERMAN, "utf-8", "gbk", False),
        (OTHERS[:4], "utf-8", "cp1252", False), (OTHERS[4:6], "utf-8", "latin-1", False),
        (OTHERS[4:5], "utf-8", "cp1251", False),
    ],
)  # fmt: skip
def test_what_was_decoded_wrongly_is_found(texts, written, read, writes_han):
    broken = [misread(text, written, read) for text in texts]
    assert mojibake(Texts(broken), writes_han).tolist() == list(range(len(texts))), broken


@pytest.mark.parametrize("writes_han", [True, False])
def test_what_was_decoded_rightly_is_not(writes_han):
    texts = [*(CHINESE if writes_han else []), *GERMAN, *OTHERS]
    assert [texts[row] for row in mojibake(Texts(texts), writes_han)] == []


def test_no_text_at_all_is_no_mojibake():
    assert mojibake(Texts([]), True).tolist() == []
    assert mojibake(Texts(["", ""]), False).tolist() == []
