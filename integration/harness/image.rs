//! Root filesystems for images, made of what this machine's packages bring.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tar::{Builder, EntryType, Header};

use super::Outcome;

/// Answers every request with the container's hostname and who asked.
const WHOAMI: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nwho=${REMOTE_ADDR#[[]::ffff:}\necho \"$(hostname) asked by ${who%]}\"\n";

/// A tar that is built entry by entry: nothing need be valid.
pub struct RootFs(Builder<Vec<u8>>);

impl RootFs {
    /// Nothing in it.
    pub fn empty() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Busybox with all its applets, some users, and a web page.
    pub fn busybox() -> Self {
        let program = fs::read("/bin/busybox").expect("busybox-static is installed");
        let applets = Outcome::of(Command::new("/bin/busybox").arg("--list"), b"").ok();
        let mut root = Self::empty();
        for dir in ["bin", "etc", "proc", "sys", "dev", "root", "www", "www/cgi-bin", "var", "home"] {
            root = root.dir(dir, 0o755);
        }
        root = root.dir("tmp", 0o1777).file("bin/busybox", 0o755, &program);
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            root = root.link(&format!("bin/{applet}"), "busybox");
        }
        root.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home:/bin/sh\n")
            .file("etc/group", 0o644, b"root:x:0:\napp:x:1000:\nextra:x:2000:app\n")
            .file("www/index.html", 0o644, b"hello\n")
            .file("www/cgi-bin/whoami", 0o755, WHOAMI.as_bytes())
    }

    /// A directory.
    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(path, EntryType::Directory, mode, b"", None)
    }

    /// A file.
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(path, EntryType::Regular, mode, content, None)
    }

    /// A symbolic link.
    pub fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, 0o777, b"", Some(target))
    }

    /// Any entry at all: the path is written as it is, `..` and all.
    pub fn entry(mut self, path: &str, kind: EntryType, mode: u32, content: &[u8], target: Option<&str>) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        let gnu = header.as_gnu_mut().expect("made as GNU");
        let put = |field: &mut [u8; 100], text: &str| field[..text.len()].copy_from_slice(text.as_bytes());
        put(&mut gnu.name, path);
        if let Some(target) = target {
            put(&mut gnu.linkname, target);
        }
        header.set_cksum();
        self.0.append(&header, content).expect("memory can be written");
        self
    }

    /// The tar's bytes.
    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().expect("memory can be written")
    }
}

/// The tar of [`RootFs::busybox`], made once.
pub fn busybox() -> &'static Path {
    static TAR: OnceLock<PathBuf> = OnceLock::new();
    TAR.get_or_init(|| keep("busybox.tar", &RootFs::busybox().tar()))
}

/// Redis, a real server as Debian packages it, with the libraries that it is linked with; fetched once a checkout.
/// `None`: there is no package registry to fetch it from, and no copy from before.
pub fn redis() -> Option<&'static Path> {
    static TAR: OnceLock<Option<PathBuf>> = OnceLock::new();
    TAR.get_or_init(|| {
        let path = scratch().join("redis.tar");
        (path.exists() || fetch_redis(&path)).then_some(path)
    })
    .as_deref()
}

/// `apt-get download` asks the registry for single packages; `dpkg -x` unpacks without installing anything.
fn fetch_redis(tar: &Path) -> bool {
    let script = r#"
        set -e
        work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; chmod 755 "$work"; cd "$work"
        { apt-get download -qq redis-server redis-tools libjemalloc2 liblzf1 ||
          { apt-get update -qq && apt-get download -qq redis-server redis-tools libjemalloc2 liblzf1; }; } >/dev/null 2>&1
        mkdir root
        for package in *.deb; do dpkg -x "$package" root; done
        rm -rf root/usr/share root/etc root/lib
        mkdir -p root/tmp root/data root/proc root/sys root/dev root/etc root/lib64
        program=root/usr/bin/redis-check-rdb; [ -f "$program" ] && [ ! -L "$program" ] || program=root/usr/bin/redis-server
        for library in $(LD_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu ldd "$program" root/usr/bin/redis-cli |
            sed -n 's/.*\(=> \|^\t\)\(\/[^ ]*\).*/\2/p' | sort -u); do
            mkdir -p "root$(dirname "$library")"; cp -nL "$library" "root$library"
        done
        tar -C root -cf "$1.new" . && mv "$1.new" "$1"
    "#;
    Command::new("bash").args(["-c", script, "redis"]).arg(tar).status().is_ok_and(|status| status.success())
}

fn keep(name: &str, content: &[u8]) -> PathBuf {
    let path = scratch().join(name);
    let mut file = tempfile::NamedTempFile::new_in(scratch()).expect("target directory is writable");
    file.write_all(content).expect("target directory is writable");
    file.persist(&path).expect("target directory is writable");
    path
}

/// Where cargo lets integration tests keep files.
pub fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
