"""The lab: claims about Transformers and what came before them, measured in minutes, a page each."""
