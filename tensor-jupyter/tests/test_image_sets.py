"""Images by class: folders, CSVs and people's feedback; what is unreadable, how they are split, their form."""

import io
import logging
import os
import re
import zlib

import pytest
from PIL import Image

from tensor_jupyter.data import ImageSpec, image_files, load
from tensor_jupyter.data.collect import Found, collect
from tensor_jupyter.data.folders import feedback_models
from tensor_jupyter.errors import LabError


def file_of(colour, size=(20, 10), mode="RGB", kind="PNG", **more):
    """The bytes of an image of one colour; size is (width, height)."""
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind, **more)
    return file.getvalue()


def announcing(side):
    """A PNG of one pixel whose header says that it has side x side."""
    content = bytearray(file_of(0, (1, 1), "L"))
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def flowers(tmp_path):
    """Twenty red daisies and twenty blue tulips, no two the same."""
    for number in range(20):
        write(tmp_path / f"flowers/daisy/{number}.png", file_of((255 - number, 0, 0)))
        write(tmp_path / f"flowers/tulip/{number}.png", file_of((0, 0, 255 - number)))
    return tmp_path / "flowers"


def values(part):
    """The set of images of a part, each by its top left pixel and its label."""
    return {(*image[0, 0].tolist(), int(label)) for image, label in zip(part.images, part.labels, strict=True)}


def test_a_folder_for_each_label(flowers):
    data = load(flowers)
    assert (data.name, data.labels, data.unreadable) == ("flowers", ("daisy", "tulip"), 0)
    assert data.train.images.shape[1:] == (10, 20, 3)
    assert data.image_spec == ImageSpec(10, 20, 3, None, "none")
    every = values(data.train) | values(data.test)
    assert every == {(255 - n, 0, 0, 0) for n in range(20)} | {(0, 0, 255 - n, 1) for n in range(20)}
    assert not values(data.train) & values(data.test)
    assert load(flowers).hash == data.hash


def test_images_of_many_sizes_get_one(flowers):
    write(flowers / "tulip/large.jpg", file_of((0, 0, 250), (640, 480), kind="JPEG"))
    assert load(flowers).image_spec == ImageSpec(96, 96, 3)
    small = load(flowers, spec=ImageSpec(8, 8, 1, "light-on-dark"))
    assert small.train.images.shape[1:] == (8, 8, 1)
    assert small.image_spec.polarity == "light-on-dark"


def test_grey_images_stay_grey(tmp_path):
    for number in range(9):
        write(tmp_path / f"set/{number % 2}/{number}.png", file_of(20 * number, (28, 28), "L"))
    data = load(tmp_path / "set")
    assert data.image_spec == ImageSpec(28, 28, 1)
    assert data.labels == ("0", "1")


def test_labels_that_are_numbers_come_in_their_order(tmp_path):
    for number in range(12):
        for shade in (0, 100):
            write(tmp_path / f"set/{number}/{shade}.png", file_of(shade + number, mode="L"))
    assert load(tmp_path / "set").labels == tuple(str(number) for number in range(12))


def test_what_is_no_image_is_counted_and_never_labelled(flowers, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="tensor_jupyter")  # the command sets a level of its own
    whole = len(load(flowers).train) + len(load(flowers).test)
    write(flowers / "daisy/empty.png", b"")
    write(flowers / "daisy/text.jpg", b"<html>not found</html>")
    write(flowers / "tulip/cut.jpg", file_of((0, 0, 9), (300, 300), kind="JPEG")[:800])
    write(flowers / "tulip/huge.png", announcing(60_000))
    write(flowers / "tulip/large.png", announcing(8_000))
    write(flowers / "weeds/only.png", b"broken")
    monkeypatch.setattr(image_files, "MAX_BYTES", 5000)
    write(flowers / "daisy/long.png", file_of((1, 1, 1)) + bytes(5000))
    write(flowers / "daisy/notes.txt", b"not looked at")
    write(flowers / ".hidden/1.png", file_of((7, 7, 7)))
    (flowers / "linked").symlink_to(tmp_path)
    os.mkfifo(flowers / "daisy/pipe.png")
    data = load(flowers)
    assert data.labels == ("daisy", "tulip")
    assert data.unreadable == 7
    assert data.about["unreadable"] == 7
    assert len(data.train) + len(data.test) == whole
    assert "Unreadable and left out: 7." in data.message
    assert "cut.jpg left out: it is broken or cut off" in caplog.text
    assert re.search("huge.png left out: it has .*more than 50,000,000", caplog.text)  # Pillow's bound, or ours
    assert "large.png left out: it has 8000 x 8000 pixels" in caplog.text
    assert "empty.png left out: it is empty" in caplog.text
    assert "long.png left out: it has more than 5000 bytes" in caplog.text


def test_what_is_held_out_stays_held_out_when_images_are_added_or_renamed(flowers):
    before = load(flowers)
    (flowers / "daisy/3.png").rename(flowers / "daisy/zzz.png")
    for number in range(20):
        write(flowers / f"daisy/new{number}.png", file_of((200 - number, 9, 9)))
    after = load(flowers)
    assert values(before.test) <= values(after.test)
    assert values(before.train) <= values(after.train)
    assert len(after.train) + len(after.test) == 60


def test_equal_files_are_all_in_one_part(flowers):
    for number in range(20):
        for copy in range(3):
            write(flowers / f"daisy/copy{number}-{copy}.png", (flowers / f"daisy/{number}.png").read_bytes())
    data = load(flowers)
    assert len(data.train) + len(data.test) == 100
    assert not values(data.train) & values(data.test)


def test_every_class_of_two_images_or_more_has_both_parts(tmp_path):
    for label in range(40):
        for number in range(2):
            write(tmp_path / f"set/{label}/{number}.png", file_of((label, number, 0)))
    data = load(tmp_path / "set")
    assert set(data.train.labels) == set(data.test.labels) == set(range(40))


def test_a_set_without_anything_to_test_with_is_refused(tmp_path):
    for number in range(3):
        write(tmp_path / f"set/a/{number}.png", file_of(5, mode="L"))
    with pytest.raises(LabError, match="both are needed"):
        load(tmp_path / "set")


def test_a_split_of_the_sets_own_is_kept(tmp_path):
    """val joins train where there is a test folder, and a test image that is also trained on is left out there."""
    for number in range(3):
        for label, blue in (("daisy", 0), ("tulip", 255)):
            for part, red in (("train", 10), ("val", 20), ("Test", 30)):
                write(tmp_path / f"set/{part}/{label}/{number}.png", file_of((red, number, blue)))
    write(tmp_path / "set/train/daisy/leak.png", file_of((30, 0, 0)))
    data = load(tmp_path / "set")
    assert values(data.test) == {(30, n, blue, blue // 255) for n in range(3) for blue in (0, 255)}
    assert values(data.train) == {
        (red, n, blue, blue // 255) for red in (10, 20) for n in range(3) for blue in (0, 255)
    }
    assert "1 test images found among the training images were left out there" in data.split


def test_val_is_what_to_test_with_where_there_is_no_test(tmp_path):
    for part, red in (("train", 1), ("validation", 2)):
        for number in range(5):
            write(tmp_path / f"set/{part}/a/{number}.png", file_of((red, number, 0)))
    assert values(load(tmp_path / "set").test) == {(2, number, 0, 0) for number in range(5)}


@pytest.mark.parametrize("found", [[], ["a.png"], ["a/notes.txt"]])
def test_a_folder_without_images_by_class_is_refused(tmp_path, found):
    (tmp_path / "set").mkdir()
    for name in found:
        write(tmp_path / "set" / name, b"x")
    with pytest.raises(LabError, match="no images by class: expected a folder for each label"):
        load(tmp_path / "set")


def test_a_set_of_unreadable_files_only_is_refused(tmp_path):
    write(tmp_path / "set/a/1.png", b"x")
    with pytest.raises(LabError, match=r"no image that can be read \(1 files cannot\)"):
        load(tmp_path / "set")


def test_a_set_too_large_for_memory_is_refused_before_reading():
    found = [Found(b"x", "a")] * 60
    with pytest.raises(LabError, match="more than 2 GiB"):
        collect("large", found, ImageSpec(4096, 4096, 3))


@pytest.mark.parametrize("heading", ["", "path,label\n", "Label,Filename\n", "id,image,class,split\n"])
def test_a_csv_of_path_and_label(flowers, heading):
    lines = []
    for label in ("daisy", "tulip"):
        for number in range(20):
            name = f"{label}/{number}.png"
            part = "test" if number < 3 else "train"
            lines.append(
                {"Label,Filename\n": f"{label}, {name}", "id,image,class,split\n": f"7,{name},{label},{part}"}.get(
                    heading, f"{name},{label}"
                )
            )
    lines[5:5] = ["", ""]
    write(flowers / "list.csv", ("\ufeff" + heading + "\n".join(lines)).encode())
    data = load(flowers / "list.csv")
    assert (data.name, data.labels) == ("list", ("daisy", "tulip"))
    assert len(data.train) + len(data.test) == 40
    assert len(data.test) == 6 if "split" in heading else 2 <= len(data.test) <= 20


@pytest.mark.parametrize("parts", ["train,train,val", "training,VALID,test", ",,test"])  # the third is held out
def test_csv_parts_follow_the_rule_of_folders(flowers, parts):
    rows = [f"daisy/{number}.png,daisy,{parts.split(',')[number % 3]}" for number in range(9)]
    write(flowers / "list.csv", "\n".join(rows).encode())
    assert values(load(flowers / "list.csv").test) == {(255 - number, 0, 0, 0) for number in (2, 5, 8)}


def test_a_missing_file_of_a_csv_is_counted(flowers):
    names = [f"daisy/{number}.png,daisy" for number in range(5)]
    write(flowers / "list.csv", "\n".join([*names, "daisy/nope.png,daisy", "daisy,daisy"]).encode())
    assert load(flowers / "list.csv").unreadable == 2


@pytest.mark.parametrize(
    ("rows", "output"),
    [
        ("../secret.png,a", r"line 1: '\.\./secret\.png' leads out of"),
        ("path,label\n/etc/passwd,a", r"line 2: '/etc/passwd' leads out of"),
        ("out/secret.png,a", "leads out of"),
        ("daisy/1.png,daisy\ndaisy/2.png", "line 2: found 'daisy/2.png', expected path,label"),
        ("daisy/1.png,", "expected path,label"),
        (
            "daisy/1.png,daisy,train\ndaisy/2.png,daisy,tset",
            r"line 2: unknown part 'tset' \(expected train, val or test",
        ),
        ("", "names no images"),
        ("\x00" * 5 + "," + "a" * 200_000, "leads out of|is not a CSV"),
        ("daisy/" + "x" * 5000 + ".png,a", "leads out of|no image that can be read"),
    ],
)
def test_a_csv_that_will_not_do_is_named_with_its_line(flowers, tmp_path, rows, output):
    write(tmp_path / "secret.png", file_of((1, 2, 3)))
    (flowers / "out").symlink_to(tmp_path)
    write(flowers / "list.csv", rows.encode())
    with pytest.raises(LabError, match=output):
        load(flowers / "list.csv")


def test_a_csv_in_another_encoding_is_refused(flowers):
    write(flowers / "list.csv", "path,label\nGänse.png,Gänse".encode("latin-1"))
    with pytest.raises(LabError, match="is not a CSV in UTF-8"):
        load(flowers / "list.csv")


@pytest.fixture
def feedback(settings):
    """What the gateway keeps for mnist-net: sevens on paper, and a label that is no plain name."""
    for number in range(6):
        paper = Image.new("L", (60, 60), 240)
        paper.paste(10 + number, (20, 10, 40, 50))
        file = io.BytesIO()
        paper.save(file, "PNG")
        write(settings.feedback / f"mnist-net/7/{number}.png", file.getvalue())
    write(settings.feedback / "mnist-net/index.jsonl", b"{}\n")
    write(settings.feedback / "mnist-net/.1.part", b"half")
    write(settings.feedback / "shoes/Ankle%20boot/1.png", file_of((1, 2, 3)))
    write(settings.feedback / "shoes/%2Edots/1.png", file_of((4, 2, 3)))
    return settings.feedback


def test_feedback_is_a_set(feedback, settings):
    assert feedback_models(feedback) == ["mnist-net", "shoes"]
    data = load("feedback:mnist-net", settings, ImageSpec(28, 28, 1, "light-on-dark", "mnist"))
    assert (data.name, data.labels) == ("feedback:mnist-net", ("7",))
    assert len(data.train) + len(data.test) == 6
    with pytest.raises(LabError, match="there is some for: mnist-net, shoes"):
        load("feedback:other", settings)


def test_labels_of_feedback_are_read_as_the_gateway_writes_them(feedback, settings):
    with pytest.raises(LabError, match="both are needed"):
        load("feedback:shoes", settings)
    write(feedback / "shoes/%2Edots/2.png", file_of((9, 9, 9)))
    assert load("feedback:shoes", settings).labels == (".dots", "Ankle boot")


@pytest.mark.usefixtures("feedback")
def test_feedback_joins_the_set_it_corrects(settings):
    """It takes the set's form: light on dark, 28x28, centred; and 7 is label 7."""
    both = load("mnist+feedback:mnist-net", settings)
    assert both.name == "sklearn-digits+feedback:mnist-net"
    assert both.image_spec == ImageSpec(28, 28, 1, "light-on-dark", "mnist")
    train, test = both.train.take(slice(1358, None)), both.test.take(slice(339, None))
    assert len(train) + len(test) == 6
    for part in (train, test):
        assert set(part.labels) == {7}
        assert (part.images[:, 0, 0] == 0).all()
        assert (part.images[:, 14, 14] > 200).all()
