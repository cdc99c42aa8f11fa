"""A store is named by what is in it, and is finished or does not count."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from minigpt.errors import UserError
from minigpt.text import long_text
from minigpt.tokens import writer
from minigpt.tokens.prepare import prepare
from minigpt.tokens.split import SPLITS, Digest, HeldOut
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import load_tokenizer
from tests.tokens.mixtures import mixture

GPT2 = load_tokenizer("gpt2")


@pytest.fixture
def forty(data, corpus):
    """The config of forty short files, with changes."""

    def make(**changes):
        shares = {"val_fraction": 0.2, "test_fraction": 0.2}
        return data(**{"files": [f"{corpus}/*.txt"], **shares, **changes})

    return make


def texts_of(store, split):
    return GPT2.decode(store.tokens(split)[:].tolist()).split("<|endoftext|>")[:-1]


def test_a_store_holds_every_document_whole_in_one_split(forty, corpus):
    prepared = prepare(forty())
    store = prepared.store
    assert prepared.made
    texts = []
    for split in SPLITS:
        tokens = store.tokens(split)
        assert tokens[:].dtype == np.uint16
        assert tokens[:][-1] == 50256
        found = texts_of(store, split)
        assert len(found) == store.manifest.documents[split] > 0
        assert {HeldOut(0.2, 0.4).split(Digest(text).place) for text in found} == {split}
        texts += found
    assert sorted(texts) == sorted(path.read_text() for path in corpus.glob("*.txt"))
    assert store.manifest.largest_id == 50256
    assert store.verify() == []


def test_the_shipped_sample_is_report_a_in_kind(data):
    manifest = prepare(data("sample")).store.manifest
    assert manifest.tokens == {"train": 5120, "val": 1536, "test": 1536}
    assert manifest.largest_id + 1 == 49805


def test_the_same_text_is_the_same_store_and_is_not_made_again(forty):
    first, again = prepare(forty()), prepare(forty())
    assert (first.made, again.made) == (True, False)
    assert again.store.folder == first.store.folder
    names = {path.name for path in first.store.folder.iterdir()}
    files = {f"{split}-00000.{kind}" for split in SPLITS for kind in ("bin", "jsonl")}
    assert names == {"manifest.json", *files}


def test_a_store_lists_its_documents_in_the_order_of_their_tokens(forty, corpus):
    store = prepare(forty(end_of_text=True)).store
    names = set()
    for split in SPLITS:
        documents = [*store.documents(split)]
        assert len(documents) == store.manifest.documents[split]
        assert sum(document.tokens for document in documents) == store.manifest.tokens[split]
        for document in documents:
            ids = store.tokens(split)[document.start : document.start + document.tokens]
            assert GPT2.decode(ids[:-1].tolist()) == Path(document.name).read_text()
            assert ids[-1] == GPT2.end_of_text
            assert GPT2.bytes_per_id()[ids].sum() == Path(document.name).stat().st_size
            names.add(document.name)
    assert names == {str(path) for path in corpus.iterdir()}


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer": "char"},
        {"val_fraction": 0.5},
        {"document_tokens": 5},
        {"end_of_text": False},
        {"max_tokens": 100},
    ],
)
def test_another_setting_is_another_store(forty, change):
    assert prepare(forty(**change)).store.folder != prepare(forty()).store.folder


def test_changed_text_is_another_store(forty, corpus):
    before = prepare(forty()).store.folder
    (corpus / "00.txt").write_text("something else")
    assert prepare(forty()).store.folder != before


def test_a_text_renamed_is_the_same_store(forty, corpus):
    before = prepare(forty()).store.folder
    (corpus / "00.txt").rename(corpus / "000.txt")
    assert prepare(forty()).store.folder == before


def test_documents_are_cut_to_document_tokens(forty):
    manifest = prepare(forty(document_tokens=3, end_of_text=False)).store.manifest
    for split in SPLITS:
        assert manifest.tokens[split] == 3 * manifest.documents[split]


def test_max_tokens_are_met_exactly_and_are_the_first(forty):
    whole = prepare(forty()).store
    cut = prepare(forty(max_tokens=100)).store
    assert cut.manifest.tokens["train"] == 100
    assert cut.tokens("train")[:].tolist() == whole.tokens("train")[:100].tolist()
    assert prepare(forty(max_tokens=10**6)).store.manifest.tokens == whole.manifest.tokens


def test_duplicates_and_empty_documents_are_left_out_and_counted(forty, corpus):
    before = prepare(forty()).store
    text = (corpus / "07.txt").read_text()
    (corpus / "90.txt").write_text(text)
    (corpus / "91.txt").write_text("\ufeff")
    (corpus / "92.txt").write_text(text)
    store = prepare(forty()).store
    assert (store.manifest.duplicates, store.manifest.empty) == (2, 1)
    for split in SPLITS:
        assert store.tokens(split)[:].tolist() == before.tokens(split)[:].tolist()


def test_a_copy_of_a_held_out_file_is_not_trained_on(forty, corpus, tmp_path):
    (tmp_path / "held.txt").write_text((corpus / "00.txt").read_text())
    store = prepare(forty(val_files=[f"{tmp_path}/held.txt"])).store
    assert texts_of(store, "val") == [(corpus / "00.txt").read_text()]
    assert store.manifest.duplicates == 1
    assert (corpus / "00.txt").read_text() not in texts_of(store, "train")


def test_half_a_surrogate_pair_is_a_replacement_character_to_every_tokenizer(data, tmp_path):
    lines = [json.dumps({"text": f"{i} \ud83d"}) for i in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    store = prepare(data(files=[f"{tmp_path}/a.jsonl"])).store
    assert sorted(text for split in SPLITS for text in texts_of(store, split)) == [
        f"{i} \ufffd" for i in range(3)
    ]
    char = prepare(data(files=[f"{tmp_path}/a.jsonl"], tokenizer="char")).store
    assert char.manifest.tokenizer["alphabet"] == " 012\ufffd"


def test_a_file_name_that_is_not_utf8_does_not_matter(data, tmp_path):
    for name, text in ((b"caf\xe9.txt", b"a longer text"), (b"b.txt", b"b"), (b"c.txt", b"c")):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(text)
    manifest = prepare(data(files=[f"{tmp_path}/*.txt"])).store.manifest
    assert manifest.longest["name"].endswith("caf\\udce9.txt")


def test_the_widened_shares_lie_within_max_tokens(data, tmp_path):
    lines = [json.dumps({"text": f"{i} " + "tide " * 100}) for i in range(200)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    shares = {"val_fraction": 0.001, "test_fraction": 0.001}
    config = data(files=[f"{tmp_path}/a.jsonl"], max_tokens=1500, **shares)
    assert all(prepare(config).store.manifest.tokens.values())


def test_ids_beyond_sixteen_bits_are_kept_in_thirty_two(data, tmp_path):
    text = "".join(map(chr, [*range(0x20, 0xD800), *range(0xE000, 0x13000)]))
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(text + str(i), "utf-8")
    store = prepare(data(files=[f"{tmp_path}/*.txt"], tokenizer="char")).store
    ids = store.tokens("train")[:]
    assert ids.dtype == np.uint32
    assert ids[: len(text)].tolist() == list(range(len(text)))
    assert store.manifest.largest_id > 65535


def test_an_empty_corpus_is_refused(data, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="data.source=files: the corpus is empty; it has no text"):
        prepare(data(files=[f"{tmp_path}/empty.txt"]))
    assert list((tmp_path / "stores").glob("files-*")) == []


def test_a_bad_line_leaves_nothing_behind(data, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\nnot fine\n')
    with pytest.raises(UserError, match="a.jsonl:2: not a JSON object"):
        prepare(data(files=[f"{tmp_path}/a.jsonl"]))
    assert list((tmp_path / "stores").glob("files-*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that cannot be read")
def test_an_unreadable_file_is_named(data):
    with pytest.raises(UserError, match="/proc/self/mem: cannot be read .Input/output error"):
        prepare(data(files=["/proc/self/mem"]))


def test_a_long_document_among_others_has_the_ids_of_the_whole(forty, corpus, monkeypatch):
    long = " ".join(f"{i} tides, and more." for i in range(3000))
    (corpus / "39.txt").write_text(long)
    (corpus / "40.txt").write_text(long)
    whole = prepare(forty()).store
    monkeypatch.setattr(long_text, "PIECE_CHARS", 1000)
    pieces = prepare(forty(root=f"{corpus}/stores")).store
    assert whole.manifest.duplicates == 1
    assert pieces.manifest == whole.manifest
    assert pieces.manifest.longest["tokens"] == len(GPT2.encode(long)) + 1
    assert prepare(forty(document_tokens=700)).store.manifest.longest["tokens"] == 701
    assert prepare(forty(max_tokens=1000)).store.manifest.tokens["train"] == 1000


def test_the_manifest_counts_the_sources_of_a_mixture(data, tmp_path):
    sources = mixture(tmp_path)
    manifest = prepare(data("mix", sources=sources)).store.manifest
    assert manifest.domains["a"]["documents"] == 100
    assert manifest.domains["b"]["documents"] in (33, 34)
    assert sum(domain["tokens"] for domain in manifest.domains.values()) == sum(
        manifest.tokens.values()
    )


def test_three_documents_leave_one_to_train_on(data, tmp_path):
    for i in range(12):
        folder = tmp_path / str(i)
        folder.mkdir()
        for j in range(3):
            (folder / f"{j}.txt").write_text(f"text {i} {j}")
        config = data(files=[f"{folder}/*.txt"], val_fraction=0.3, test_fraction=0.1)
        assert prepare(config).store.manifest.documents == {"train": 1, "val": 1, "test": 1}


def test_one_line_says_why_nothing_is_left_to_train_on(data, corpus):
    names = [f"{corpus}/*.txt"]
    message = r"every document is held out \(val 40, test 0\), none is left to train on; give more"
    with pytest.raises(UserError, match=message):
        prepare(data(files=names, val_files=names))
    assert list(corpus.parent.glob("stores/files-*")) == []


def test_a_tilde_is_the_home_folder_in_every_path(forty, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    made = prepare(forty(root="~/of mine")).store
    assert made.folder.parent == tmp_path / "of mine"
    again = prepare(forty(source="store", files=[f"~/of mine/{made.folder.name}"])).store
    assert again.folder == made.folder


@pytest.mark.parametrize("name", ["nowhere", "corpus", "corpus/00.txt"])
def test_a_path_that_is_not_a_store_is_refused_without_advice_to_delete_it(forty, corpus, name):
    path = corpus.parent / name
    message = f"{path}/manifest.json is missing or broken, so .* is not a token store; name a fold"
    with pytest.raises(UserError, match=message):
        prepare(forty(source="store", files=[str(path)]))


# Text that changes while it is read.


def change_while_reading(monkeypatch, path, before_document):
    """Overwrites a file when some document is read, and puts it back at the end."""
    from minigpt.tokens import pipeline

    pieces, kept, count = pipeline._pieces, path.read_bytes(), iter(range(10**6))
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns

    def changing(document):
        if next(count) == before_document:
            path.write_bytes(b"X" * len(kept))
        yield from pieces(document)
        if document.name.endswith("39.txt"):
            path.write_bytes(kept)
            os.utime(path, ns=times)

    monkeypatch.setattr(pipeline, "_pieces", changing)


@pytest.mark.parametrize("part_tokens", [40, 1 << 24])
def test_text_overwritten_while_it_is_read_and_put_back_is_not_kept(
    forty, corpus, monkeypatch, part_tokens
):
    monkeypatch.setattr(writer, "PART_TOKENS", part_tokens)
    right = prepare(forty(root=f"{corpus}/right")).store
    with monkeypatch.context() as patch:
        change_while_reading(patch, corpus / "20.txt", before_document=5)
        with pytest.raises(UserError, match="20.txt was changed while it was read, so nothing is"):
            prepare(forty())
    assert list(corpus.parent.glob("stores/files-*")) == []
    again = prepare(forty())
    assert again.made
    assert again.store.manifest == right.manifest


def test_every_source_made_of_files_notices_a_change(data, tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    for name, root in (("train", tmp_path / "hub"), ("mixed", tmp_path)):
        lines = [json.dumps({"text": f"{name} {i}"}) for i in range(20)]
        (root / f"{name}.jsonl").write_text("\n".join(lines))
    sources = {"a": {"source": "files", "files": [f"{tmp_path}/mixed.jsonl"]}}
    for config, path in (
        (data("hub", hub_name=f"{tmp_path}/hub"), tmp_path / "hub" / "train.jsonl"),
        (data("hub", hub_name=f"{tmp_path}/hub"), tmp_path / "hub"),
        (data("mix", sources=sources), tmp_path / "mixed.jsonl"),
    ):
        with monkeypatch.context() as patch:
            finished = writer._Writer.end_part

            def touch(self, path=path, finished=finished):
                os.utime(path)
                finished(self)

            patch.setattr(writer._Writer, "end_part", touch)
            with pytest.raises(UserError, match=f"{path} was changed while it was read"):
                prepare(config)
        assert list((tmp_path / "stores").glob("[!.]*-*")) == []


# Kills, full disks and second processes.

TYPED = """
import sys
from minigpt.tokens import writer
from minigpt.commands.main import main
writer.PART_TOKENS = 40
{}
main(["prepare", *sys.argv[1:]])
"""


def typed(tmp_path, corpus, root, before=""):
    """`minigpt prepare` in a process of its own, in parts of forty tokens."""
    arguments = [f"data.files=[{corpus}/*.txt]", "data.val_fraction=0.2", f"data.root={root}"]
    return subprocess.Popen(
        [sys.executable, "-c", TYPED.format(before), "data=files", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )


def content(root):
    (folder,) = Path(root).glob("files-*")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


KILLED = """
import os, signal
end_part = writer._Writer.end_part
def killed(self):
    if len(self.parts) == {}:
        for shard in self.shards.values():
            shard._flush()
        os.kill(os.getpid(), signal.SIGKILL)
    end_part(self)
writer._Writer.end_part = killed
"""

KILLED_BEFORE_THE_MANIFEST = """
import os, signal
from minigpt.tokens import prepare
prepare.write_manifest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_preparation_goes_on_and_ends_byte_for_byte_the_same(tmp_path, corpus):
    (corpus / "41.txt").write_text((corpus / "01.txt").read_text())  # a duplicate, parts later
    whole = typed(tmp_path, corpus, tmp_path / "whole")
    assert whole.wait() == 0, whole.stderr.read()
    whole.communicate()
    parts = len(list(tmp_path.glob("whole/files-*/train-*.bin")))
    assert parts > 8
    for before in (KILLED.format(3), KILLED.format(7), KILLED_BEFORE_THE_MANIFEST):
        killed = typed(tmp_path, corpus, tmp_path / "killed", before)
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
        with pytest.raises(UserError, match="manifest.json is missing"):
            TokenStore(next((tmp_path / "killed").glob("files-*")))
    # The last start reads on without making a shard again.
    folder = next((tmp_path / "killed").glob("files-*"))
    made = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.bin")}
    assert len(made) == 3 * parts
    last = typed(tmp_path, corpus, tmp_path / "killed")
    assert "made in" in last.communicate()[0]
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.bin")} == made
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_a_broken_record_of_a_part_is_made_again(tmp_path, corpus):
    typed(tmp_path, corpus, tmp_path / "whole").communicate()
    typed(tmp_path, corpus, tmp_path / "killed", KILLED.format(5)).communicate()
    (folder,) = (tmp_path / "killed").glob("files-*")
    (folder / "part-00002.json").write_text("{")
    assert "made in" in typed(tmp_path, corpus, tmp_path / "killed").communicate()[0]
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_what_a_preparation_left_that_was_killed_at_its_end_is_removed(forty):
    folder = prepare(forty()).store.folder
    before = sorted(folder.parent.rglob("*"))
    for number in range(2):
        (folder / f"part-{number:05}.json").write_text("{}")
    ranges = folder.with_name(f".{folder.name}.ranges")
    ranges.mkdir()
    (ranges / "00000.bin").touch()
    assert not prepare(forty()).made
    assert sorted(folder.parent.rglob("*")) == before


def test_of_two_processes_one_makes_the_store_and_the_other_waits(tmp_path, corpus):
    hold = "from minigpt.tokens import prepare\nmake = prepare._make\n"
    hold += "def held(*a):\n    print('in', flush=True)\n    sys.stdin.readline()\n    make(*a)\n"
    first = typed(tmp_path, corpus, tmp_path / "stores", hold + "prepare._make = held")
    assert first.stdout.readline() == "in\n"
    second = typed(tmp_path, corpus, tmp_path / "stores")
    assert second.stderr.readline().endswith("another process is making this store; waiting\n")
    out, err = first.communicate("\n")
    assert ("made in" in out, err) == (True, "")
    out, err = second.communicate()
    assert ("up to date" in out, err) == (True, "")
    left = {path.name for path in (tmp_path / "stores").iterdir()} - {"digests.json"}
    assert {name[:5] for name in left} == {"files"}


# The system itself refuses: a limit on the size of files stands in for the disk's. It holds from
# when the store is written, since gigatoken needs a temporary file before.
FULL = """
import resource as r
init = writer._Writer.__init__
def full(*a):
    r.setrlimit(r.RLIMIT_FSIZE, (1500, r.RLIM_INFINITY))
    init(*a)
writer._Writer.__init__ = full
"""


def test_a_full_disk_leaves_nothing_half_written_and_the_old_store_as_it_was(tmp_path, corpus):
    typed(tmp_path, corpus, tmp_path / "stores").communicate()
    before = content(tmp_path / "stores")
    old = next((tmp_path / "stores").glob("files-*"))
    for path in corpus.glob("3*.txt"):
        path.write_text(path.read_text() + "more of it")
    (corpus / "39.txt").write_text("a longer text than any other " * 300)
    full = typed(tmp_path, corpus, tmp_path / "stores", FULL)
    out, err = full.communicate()
    assert (full.returncode, out) == (2, "")
    assert err.startswith("error: cannot write ")
    assert "File too large; free some space or set data.root, and the same command goes" in err
    assert err.count("\n") == 1
    (new,) = set((tmp_path / "stores").glob("files-*")) - {old}
    assert list(new.glob("*.partial")) == []
    assert not (new / "manifest.json").exists()
    finished = Counter(path.name.split("-")[0] for path in new.iterdir())
    assert finished["part"] > 3
    assert {finished[split] for split in SPLITS} == {2 * finished["part"]}  # ids and documents
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    again = typed(tmp_path, corpus, tmp_path / "stores")
    assert "made in" in again.communicate()[0]
    assert TokenStore(new).verify() == []


def test_a_full_disk_within_a_long_document_is_one_line_too(tmp_path, corpus):
    (corpus / "39.txt").write_text("a longer text than any other " * 300)
    limit = FULL + "from minigpt.text import long_text; long_text.PIECE_CHARS = 1000"
    full = typed(tmp_path, corpus, tmp_path / "stores", limit)
    out, err = full.communicate()
    assert (full.returncode, out, err.count("\n")) == (2, "", 1)
    assert "File too large; free some space" in err
    (folder,) = (tmp_path / "stores").glob("files-*")
    assert list(folder.glob("*.partial")) == []


def test_a_root_that_cannot_be_written_is_named(forty, corpus):
    with pytest.raises(UserError, match="data.root=.*00.txt/x cannot be made a folder"):
        prepare(forty(root=f"{corpus}/00.txt/x"))


def test_without_a_network_one_line_says_what_was_tried_and_what_works(tmp_path):
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    for option, key in {"web": "data.sources.wikipedia", "wikitext": "data"}.items():
        done = subprocess.run(
            [sys.executable, "-m", "minigpt.commands.main", "prepare", f"data={option}"],
            env=offline, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(f"error: {key}.source=hub: split ")
        assert "could not be read after 0 rows" in done.stderr
        assert "tried the Hugging Face hub and its local cache; data=files" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "web"}, "data.source=web is not one of sample, stdlib, files, hub, mix"),
        ({"val_fraction": 1.0}, r"data.val_fraction must lie in \[0, 1\), got 1.0"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "leaves nothing to train on"),
        ({"document_tokens": 0}, "data.document_tokens must be above 0, got 0"),
        ({"max_tokens": 0}, "data.max_tokens must be above 0, got 0"),
        ({"mix_seed": -1}, "data.mix_seed must be at least 0, got -1"),
        ({"files": "a.txt"}, "data.files must be list, got 'a.txt'"),
        ({"files": []}, "data.files is empty; name text files or globs"),
        ({"source": "store", "files": []}, "source store needs the folder of one token store"),
        ({"source": "store", "files": ["a", "b"]}, "source store needs the folder of one"),
        ({"document_start": "("}, r"data.document_start='\(' is not a regular expression"),
    ],
)
def test_wrong_settings_are_refused_by_key(forty, change, message):
    with pytest.raises(UserError, match=message):
        forty(**change)
