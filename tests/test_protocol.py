"""Protocols and roles files: what is read back is what was written, and faults are named."""

import hashlib

import numpy as np
import pytest

from bench.errors import ProtocolError, RolesError, suggest
from bench.protocol import (
    Roles,
    format_roles,
    load_protocol,
    load_roles,
    parse_protocol,
    parse_roles,
)

TOML = """
name = "p"
title = "A protocol"
[split]
kind = "groupkfold"
folds = 2
seed = 1
val = 0.1
"""


def small_roles() -> Roles:
    return Roles(
        roster_sha256="ab" * 32,
        image_ids=np.array(["NA", "a", "b"], dtype=object),
        group_ids=np.array(["g1", "g2", "null"], dtype=object),
        parts=np.array([[1, 3], [3, 2], [0, 1]], dtype=np.uint8),
    )


def test_a_roles_file_reads_back_as_it_was_written():
    roles = small_roles()
    again = parse_roles(format_roles(roles), "x.csv")
    assert again.roster_sha256 == roles.roster_sha256
    assert again.image_ids.tolist() == ["NA", "a", "b"]
    assert again.group_ids.tolist() == ["g1", "g2", "null"]
    assert (again.parts == roles.parts).all()
    assert format_roles(roles).splitlines()[1:3] == [
        "image_id,group_id,fold0,fold1",
        "NA,g1,train,test",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,group_id,fold0\n", "first line"),
        ("# roster_sha256=ab\nimage_id,fold0\na,train\n", "header"),
        ("# roster_sha256=ab\nimage_id,group_id,fold0\na,g,tset\n", "a is 'tset' in fold0"),
        (
            "# roster_sha256=ab\nimage_id,group_id,fold0\na,g,test\na,g,test\n",
            "in more than one row: a",
        ),
        ("# roster_sha256=ab\n", "header"),
        (
            "# roster_sha256=ab\nimage_id,group_id,fold0\na,g,test,val\n",
            r"line 3 \(a\) has 4 cells, the header has 3",
        ),
        ("# roster_sha256=ab\nimage_id,group_id,fold0\na,g,test\nb,g\n", r"line 4 \(b\) has 2"),
        ('# roster_sha256=ab\nimage_id,group_id,fold0\na,"g,test\n', "line 3: not a CSV table"),
    ],
)
def test_a_broken_roles_file_is_refused_by_name(text, said):
    with pytest.raises(RolesError, match=said) as caught:
        parse_roles(text, "x.csv")
    assert "x.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (TOML + "[run]\nseed = [0]\n", "run.seed"),
        (TOML.replace("folds = 2", "folds = 1"), "split.folds"),
        (TOML.replace("folds = 2", 'folds = "2"'), "split.folds"),
        (TOML + "[interval]\nmethod = 'guess'\n", "interval.method"),
        ("name = ", "not TOML"),
        (TOML.replace('name = "p"', ""), "name"),
        (TOML.replace('"p"', '"../p"'), "name"),
    ],
)
def test_a_broken_protocol_names_its_key(broken, said):
    with pytest.raises(ProtocolError, match=said):
        parse_protocol(broken, "p.toml")


def test_an_unknown_protocol_is_refused_with_the_known_ones(tmp_path):
    (tmp_path / "p.toml").write_text(TOML)
    with pytest.raises(ProtocolError, match="unknown protocol 'q'; known are p"):
        load_protocol("q", tmp_path)
    assert load_protocol("p", tmp_path).folds == 2


def test_similar_names_are_suggested_and_long_lists_are_not_printed(tmp_path):
    for number in range(20):
        (tmp_path / f"study-{number}.toml").write_text(TOML)
    with pytest.raises(ProtocolError, match="did you mean .*study-7") as caught:
        load_protocol("studie-7", tmp_path)
    assert "study-19" not in str(caught.value)
    assert suggest("unlike", ["study-1"]) == ""


def test_a_changed_roles_file_is_refused(tmp_path):
    text = format_roles(small_roles())
    (tmp_path / "r.csv").write_text(text)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    toml = f'{TOML}[roles.d]\nfile = "r.csv"\nsha256 = "{sha256}"\n'
    protocol = parse_protocol(toml, "p.toml")
    assert load_roles(protocol, "d", tmp_path).columns == 2
    (tmp_path / "r.csv").write_text(text.replace("a,g2,test", "a,g2,train"))
    with pytest.raises(RolesError, match="frozen roles never change"):
        load_roles(protocol, "d", tmp_path)
    with pytest.raises(ProtocolError, match="no frozen roles for 'e'"):
        load_roles(protocol, "e", tmp_path)
    content = b"\xff" + text.encode()
    (tmp_path / "r.csv").write_bytes(content)
    other = parse_protocol(toml.replace(sha256, hashlib.sha256(content).hexdigest()), "p.toml")
    with pytest.raises(RolesError, match=r"r\.csv: is not UTF-8 text"):
        load_roles(other, "d", tmp_path)


def test_roles_of_another_roster_say_what_differs(small_manifest):
    roles = Roles(
        roster_sha256="0" * 64,
        image_ids=small_manifest.image_ids[1:],
        group_ids=small_manifest.native_groups[1:],
        parts=np.ones((len(small_manifest) - 1, 1), np.uint8),
    )
    with pytest.raises(RolesError, match="1 images unknown to the roles: IMG_000_0"):
        roles.refuse_other_roster(small_manifest)
