"""Markup as a tree: what is put into it is text, never markup."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree

Element = ElementTree.Element

_UNWRITABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def element(tag: str, *children: Element | str, **attributes: str | float) -> Element:
    """An element; ``class_`` and ``stroke_width`` are the attributes class and stroke-width."""
    made = ElementTree.Element(tag)
    for name, value in attributes.items():
        made.set(name.rstrip("_").replace("_", "-"), clean(str(value)))
    for child in children:
        if isinstance(child, str):
            _add_text(made, clean(child))
        else:
            made.append(child)
    return made


def _add_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def clean(text: str) -> str:
    """Text without the characters that HTML has no place for."""
    return _UNWRITABLE.sub("�", text)


def to_html(root: Element) -> str:
    """The whole page."""
    return "<!doctype html>\n" + ElementTree.tostring(root, encoding="unicode", method="html")
