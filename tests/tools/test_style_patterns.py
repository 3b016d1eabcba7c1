"""The counter of phrases that readers stumble over reads the example configuration and the names of tests."""

from pathlib import Path

import pytest

from tools.style_patterns import hits, long_names, main, texts


def test_texts_of_toml_are_its_comments(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('# every key\n[daemon] # the process\n# listen = ":9464" # an address\nname = "a"\n')
    read = dict(texts(file))
    assert (read[1], read[2], read[3]) == ("every key", "the process", "an address")


def test_hits_include_the_example_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("")
    (tmp_path / "config.example.toml").write_text('every = "7d" # any default, said anew\n')
    monkeypatch.setattr("tools.style_patterns.ROOT", tmp_path)
    assert [(str(path), line, name) for path, line, name, _ in hits()] == [("config.example.toml", 1, "private word")]


def test_texts_have_no_private_word() -> None:
    assert [hit for hit in hits() if hit[2] == "private word"] == []


def test_example_configuration_has_no_hit() -> None:
    assert [hit for hit in hits() if hit[0] == Path("config.example.toml")] == []


def test_name_of_nine_words_fails_the_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("README.md", "config.example.toml"):
        (tmp_path / name).write_text("")
    file = tmp_path / "tests/cli/test_a.py"
    file.parent.mkdir(parents=True)
    file.write_text("def test_1_2_3_4_5_6_7_8(): ...\n")
    monkeypatch.setattr("tools.style_patterns.ROOT", tmp_path)
    assert main([]) == 0
    file.write_text("class TestA:\n    async def test_1_2_3_4_5_6_7_8_9(): ...\n")
    assert [(str(path), name) for path, name in long_names()] == [("tests/cli/test_a.py", "test_1_2_3_4_5_6_7_8_9")]
    assert main([]) == 1


def test_names_have_at_most_eight_words() -> None:
    assert list(long_names()) == []
