"""The ways in which editors and tools save a file: its bytes are whole, its permissions stay, its backup has what was."""
import os, shutil, subprocess, tempfile

os.umask(0o022)


def read(path):
    with open(path) as file:
        return file.read()


def synced(path, text, mode=0o644):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.write(file, text.encode())
    os.fsync(file)
    os.close(file)


def sync_directory():
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


def in_place(path, text):
    """nano, or vim where it may not replace: cut off, then written."""
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def by_rename(path, text):
    """VS Code, gedit: a new file that takes the place of the old."""
    synced(f".{path}.new", text)
    shutil.copymode(path, f".{path}.new")
    os.rename(f".{path}.new", path)
    sync_directory()


def with_backup(path, text):
    """vim with backupcopy=no: the old one moves away, the new one comes."""
    os.rename(path, f"{path}~")
    synced(path, text)
    shutil.copymode(f"{path}~", path)
    os.unlink(f"{path}~")


def by_link(path, text):
    """emacs with backup-by-copying off, git: a second name keeps the old one."""
    os.link(path, f"{path}~")
    synced(f"#{path}#", text)
    shutil.copymode(path, f"#{path}#")
    before = read(path)
    os.rename(f"#{path}#", path)
    assert read(f"{path}~") == before
    os.unlink(f"{path}~")


def by_swap(path, text):
    """vim's check that a directory takes files, its swap file, then the text."""
    probe = os.open("4913", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644)
    os.fchown(probe, os.geteuid(), os.getegid())
    os.close(probe)
    os.unlink("4913")
    synced(f".{path}.swp", "swap", 0o600)
    in_place(path, text)
    os.unlink(f".{path}.swp")


def by_sed(path, text):
    subprocess.run(["sed", "-i", f"s/.*/{text}/", path], check=True)


def by_sed_with_backup(path, text):
    before = read(path)
    subprocess.run(["sed", "-i.orig", f"s/.*/{text}/", path], check=True)
    assert read(f"{path}.orig") == before
    os.unlink(f"{path}.orig")


def by_perl(path, text):
    subprocess.run(["perl", "-pi", "-e", f"s/.*/{text}/", path], check=True)


def by_temporary(path, text):
    """Python's tempfile, as many tools: 0600 at first."""
    with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as file:
        file.write(text)
    shutil.copymode(path, file.name)
    os.replace(file.name, path)


def by_install(path, text):
    synced("source", text)
    subprocess.run(["install", "-m", f"{os.stat(path).st_mode & 0o777:o}", "source", path], check=True)
    os.unlink("source")


ways = [in_place, by_rename, with_backup, by_link, by_swap, by_sed, by_sed_with_backup, by_perl, by_temporary, by_install]
for mode in 0o644, 0o755, 0o600:
    synced("file", "as it was", mode)
    os.chmod("file", mode)
    for turn, way in enumerate([*ways, *ways]):
        held = open("file")
        was = held.read()
        way("file", f"text {turn}")
        assert read("file") == f"text {turn}", (way, read("file"))
        assert os.stat("file").st_mode & 0o777 == mode, (way, oct(os.stat("file").st_mode))
        assert os.listdir(".") == ["file"], (way, os.listdir("."))
        held.seek(0)
        seen = held.read()
        assert seen in (was, f"text {turn}"), (way, seen)
        held.close()
    os.unlink("file")
