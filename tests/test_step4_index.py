"""Step 4 on a database that is large enough to keep an index file."""

import shutil
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

import step4_scene_trace as step4
from embedding_sources import LARGE, MEDIUM
from small_batch import STEPS, make_batch
from utils import embedding_index
from utils.embedding_rows import known_states
from utils.files import InputError
from utils.scene_index import SceneEntry, entry_path


@pytest.fixture(scope="module")
def ranked(tmp_path_factory) -> Path:
    """A folder after steps 1 to 4."""
    root = make_batch(tmp_path_factory.mktemp("ranked"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for number in (1, 2, 3, 4):
            assert not import_module(STEPS[number].stem).main().failed
    return root


@pytest.mark.parametrize("limits", [MEDIUM, LARGE], ids=["exact", "approximate"])
def test_step_4_ranks_the_same_with_an_index_file(ranked, tmp_path, monkeypatch, limits):
    root = tmp_path / "project"
    shutil.copytree(ranked, root)
    monkeypatch.chdir(root)
    monkeypatch.setattr(embedding_index, "Limits", lambda: limits)
    table = Path("step4_scene_trace/scene_ranking.csv")
    wanted = table.read_bytes()
    for overwrite in (False, True):
        assert not step4.main(overwrite=overwrite).failed
        assert table.read_bytes() == wanted
    assert len(known_states(Path("step4_scene_trace"))) == 3
    read = []
    monkeypatch.setattr(step4, "is_indexed", lambda *args: read.append(args))
    monkeypatch.setattr(SceneEntry, "read", partial(read.append))
    assert len(step4.main().skipped) == 3 and not read  # neither entries nor keypoints


def test_step_4_notices_damaged_entries_of_a_kept_index(ranked, tmp_path, monkeypatch):
    root = tmp_path / "project"
    shutil.copytree(ranked, root)
    monkeypatch.chdir(root)
    monkeypatch.setattr(embedding_index, "Limits", lambda: MEDIUM)
    step4.main()
    scene_root, before = Path("step4_scene_trace"), known_states(Path("step4_scene_trace"))
    path = entry_path(scene_root, "one")
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(InputError, match="one.npz.*step 4"):
        step4.read_entry(scene_root, "one")
    step4.main()
    assert path.read_bytes() == whole
    after = known_states(scene_root)
    assert {name for name in after if after[name] != before[name]} == {"one"}
