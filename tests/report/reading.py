"""A page as a reader without script has it: elements, attributes, text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


@dataclass
class Element:
    """An element with its attributes and everything inside it."""

    tag: str
    attributes: dict[str, str]
    inside: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its text, spaces drawn together."""
        parts = [one if isinstance(one, str) else one.text for one in self.inside]
        return " ".join("".join(parts).split())

    def all(self, tag: str = "", kind: str = "") -> list[Element]:
        """The elements inside of a tag and class, in order."""
        found = []
        for one in self.inside:
            if isinstance(one, Element):
                classes = one.attributes.get("class", "").split()
                if tag in ("", one.tag) and (not kind or kind in classes):
                    found.append(one)
                found += one.all(tag, kind)
        return found

    def one(self, tag: str = "", kind: str = "") -> Element:
        """The first of them."""
        return self.all(tag, kind)[0]

    def by_id(self, name: str) -> Element:
        """The element of an id."""
        return next(one for one in self.all() if one.attributes.get("id") == name)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        self.open[-1].inside.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].inside.append(Element(tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].inside.append(data)


def read(page: str) -> Element:
    """The tree of a page; raises AssertionError where an element is not closed in order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is never closed"
    return reader.root
