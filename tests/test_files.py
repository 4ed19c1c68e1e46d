import stat
from pathlib import Path

import pytest

from adlib.files import replaced_file, replaced_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    with pytest.raises(error), replaced_file(path) as draft:
        draft.write_text("half")
        raise error
    assert names(tmp_path) == []
    path.write_text("old")
    with pytest.raises(error), replaced_file(path) as draft:
        draft.write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_file_keeps_its_permissions_and_its_links(tmp_path):
    path, link = tmp_path / "a.txt", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with replaced_file(link) as draft:
        draft.write_text("new")
    assert link.is_symlink() and path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    (tmp_path / "plain").touch()
    with replaced_file(tmp_path / "deep" / "b.txt") as draft:
        draft.touch()
    assert (tmp_path / "deep" / "b.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_does_not_replace_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is a folder"), replaced_file(tmp_path):
        pass
    with (pytest.raises(FileExistsError, match="below a file"),
          replaced_file(tmp_path / "file" / "a")):
        pass


def made(path, text):
    with replaced_folder(path, "kind.json") as folder:
        (folder / "kind.json").write_text(text)


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    made(tmp_path / "deep" / "a", "old")
    (tmp_path / "deep" / "a" / "more.txt").touch()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "deep" / "a")
    made(link, "new")
    assert link.is_symlink() and names(tmp_path / "deep") == ["a"]
    assert names(link) == ["kind.json"] and (link / "kind.json").read_text() == "new"


def test_a_folder_of_another_kind_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    (tmp_path / "file").touch()
    for path, message in (("mine", "not a saved kind"), ("file", "not a saved kind"),
                          ("file/a", "below a file")):
        with pytest.raises(FileExistsError, match=message):
            made(tmp_path / path, "new")
    assert names(tmp_path / "mine") == ["precious"] and names(tmp_path) == ["file", "mine"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("suffix", ["", ".new"])  # while writing; at the renaming
def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path, monkeypatch, error, suffix):
    made(tmp_path / "a", "old")
    rename = Path.rename

    def failing(self, target):
        if self.suffix == suffix:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(error):
        made(tmp_path / "a", "new")
    monkeypatch.undo()
    assert names(tmp_path) == ["a"] and (tmp_path / "a" / "kind.json").read_text() == "old"
    with pytest.raises(error), replaced_folder(tmp_path / "b", "kind.json") as folder:
        (folder / "kind.json").touch()
        raise error
    assert names(tmp_path) == ["a"]
