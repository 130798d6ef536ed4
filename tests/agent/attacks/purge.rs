//! Removal and purge run nothing as root that the agent's user could have written, and leave no secret behind.
//!
//! The package's own scripts run in their own root (mount namespace and chroot, so it takes root), where a substitute for
//! the agent notes who runs it. What a real package does in a real Debian is tried by scripts/try-package.sh.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Mounts what programs need, for this process and its children alone, and goes in.
const ENTER: &str = r#"
root=$1; shift
for folder in /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/share /lib /lib64 /dev /proc; do
    if [ -d "$folder" ] && [ ! -L "$folder" ]; then mount --rbind "$folder" "$root$folder" || exit 99; fi
done
mount --bind /usr/bin "$root/host/bin" && mount --bind /usr/sbin "$root/host/sbin" || exit 99
exec chroot "$root" "$@"
"#;
/// Notes who runs it, with what, and whether there is a terminal to type into; ends no session.
const STAND_IN: &str = r#"#!/bin/sh
{ id -u; id -g; id -G; echo "$*"; head -n 1 "${3:-/etc/tidegate/tidegate.toml}"
  if (: </dev/tty) 2>/dev/null; then echo terminal; else echo none; fi; } >/tmp/ran.new 2>&1
mv /tmp/ran.new "/tmp/ran"
"#;
/// All that there is besides: without systemd the scripts go their ways without it.
const PROGRAMS: [&str; 25] = [
    "cat", "chmod", "chown", "cp", "dirname", "env", "getent", "grep", "head", "id", "install", "ln", "mkdir", "mv",
    "rm", "rmdir", "runuser", "script", "setpriv", "setsid", "sh", "sleep", "su", "timeout", "true",
];
/// The ids of the agent's user in there.
const USER: u32 = 8377;
/// What a site may have put there, or former versions and commands: all of it secret.
const SECRETS: [&str; 8] = [
    "etc/tidegate/mqtt-password",
    "etc/tidegate/tidegate.toml.old",
    "etc/tidegate/token",
    "etc/tidegate/credentials.csv",
    "etc/credstore/tidegate.credentials.csv",
    "etc/credstore/tidegate.credentials.csv.new",
    "etc/credstore.encrypted/tidegate.credentials.csv",
    "etc/systemd/system/tidegate.service.d/credentials.conf",
];

/// A system with the agent installed.
struct Root(tempfile::TempDir);

impl Root {
    /// `None`, with the reason printed: we may not mount. Without these programs.
    fn new(without: &[&str]) -> Option<Root> {
        let root = Root(tempfile::tempdir().unwrap());
        for folder in ["/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share"] {
            fs::create_dir_all(root.at(folder)).unwrap();
        }
        for name in ["lib", "lib64", "bin", "sbin"] {
            match fs::read_link(Path::new("/").join(name)) {
                Ok(target) => symlink(target, root.at(name)).unwrap(),
                Err(_) => fs::create_dir_all(root.at(name)).unwrap(),
            }
        }
        for name in [
            "dev",
            "proc",
            "host/bin",
            "host/sbin",
            "usr/bin",
            "usr/sbin",
            "var/lib",
            "tmp",
            "root",
            "packaging",
            "etc",
        ] {
            fs::create_dir_all(root.at(name)).unwrap();
        }
        fs::set_permissions(root.at("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
        fs::set_permissions(root.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for program in PROGRAMS.iter().filter(|program| !without.contains(program)) {
            let mut folders = ["bin", "sbin"].iter();
            let folder = folders.find(|folder| Path::new("/usr").join(folder).join(program).exists());
            let folder = folder.unwrap_or_else(|| panic!("this machine has no {program}"));
            symlink(Path::new("/host").join(folder).join(program), root.at("usr/bin").join(program)).unwrap();
        }
        root.write(
            "etc/passwd",
            &format!("root:x:0:0::/root:/bin/sh\ntidegate:x:{USER}:{USER}::/nonexistent:/bin/false\n"),
        );
        root.write("etc/group", &format!("root:x:0:\ntidegate:x:{USER}:\nsite:x:8400:tidegate\n"));
        root.write("etc/shadow", "root:*:19000:0:99999:7:::\ntidegate:!:19000:0:99999:7:::\n");
        for program in ["runuser", "su"] {
            let rules =
                "auth sufficient pam_rootok.so\naccount required pam_permit.so\nsession required pam_permit.so\n";
            root.write(&format!("etc/pam.d/{program}"), rules);
        }
        for script in ["prerm", "postrm", "postinst", "install.sh"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(script);
            fs::copy(from, root.at("packaging").join(script)).unwrap();
        }
        root.install();
        let output = root.run(&["true"]);
        if output.status.code() == Some(0) {
            return Some(root);
        }
        println!("SKIPPED: nothing can be mounted here, run as root: {output:?}");
        None
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.path().join(path.strip_prefix("/").unwrap_or(path))
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    /// As the package installs it, with what a site adds.
    fn install(&self) {
        self.write("usr/bin/tidegate", STAND_IN);
        fs::set_permissions(self.at("usr/bin/tidegate"), PermissionsExt::from_mode(0o755)).unwrap();
        for file in SECRETS {
            self.write(file, "hunter2");
        }
        self.write("etc/tidegate/tidegate.toml", "# the site's\n");
        fs::create_dir_all(self.at("var/lib/tidegate/journal")).unwrap();
        for (path, owner, mode) in [
            ("etc/tidegate", 0, 0o750),
            ("etc/tidegate/tidegate.toml", 0, 0o640),
            ("var/lib/tidegate", USER, 0o700),
            ("var/lib/tidegate/journal", USER, 0o700),
        ] {
            // Without root nothing works from here on anyway.
            let _ = std::os::unix::fs::chown(self.at(path), Some(owner), Some(USER));
            fs::set_permissions(self.at(path), PermissionsExt::from_mode(mode)).unwrap();
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]).arg(self.0.path()).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap()
    }

    /// As root; what it said.
    fn root(&self, words: &[&str]) -> String {
        let Output { stdout, stderr, status } = self.run(words);
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{words:?}: {said}");
        said
    }

    /// The same on a terminal, as a person does it.
    fn on_a_terminal(&self, script: &str) -> String {
        self.root(&["script", "-qec", script, "/dev/null"])
    }

    /// As the agent's user, who has a shell there: whether it went well.
    fn attacker(&self, script: &str) -> bool {
        let id = USER.to_string();
        self.run(&["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "sh", "-c", script]).status.success()
    }

    /// What `dpkg --remove`, an attacker meanwhile, and `dpkg --purge` do.
    fn remove_and_purge(&self, meanwhile: impl Fn()) -> String {
        self.root(&["sh", "/packaging/prerm", "remove"]);
        fs::remove_file(self.at("usr/bin/tidegate")).unwrap();
        self.root(&["sh", "/packaging/postrm", "remove"]);
        meanwhile();
        fs::remove_file(self.at("etc/tidegate/tidegate.toml")).unwrap();
        self.on_a_terminal("sh /packaging/postrm purge")
    }

    /// Secrets, and whatever else has our name, that are there.
    fn left(&self) -> Vec<PathBuf> {
        let folders = ["etc", "etc/credstore", "etc/credstore.encrypted", "etc/systemd/system", "var/lib"];
        let entries = folders.iter().filter_map(|folder| fs::read_dir(self.at(folder)).ok()).flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().contains("tidegate")).map(|e| e.path()).collect()
    }

    /// Who ran forget-session, and how.
    fn assert_ran_as_the_agents_user(&self, config: &str, said: &str) {
        let ran =
            fs::read_to_string(self.at("tmp/ran")).unwrap_or_else(|error| panic!("it did not run: {error}: {said}"));
        let lines: Vec<&str> = ran.lines().collect();
        let user = USER.to_string();
        assert_eq!(lines[..2], [&*user, &*user], "{ran}");
        // As the unit has it: the user's own groups, and none of root's.
        assert!(lines[2].split(' ').all(|group| group == user || group == "8400"), "{ran}");
        assert_eq!(lines[3..], [config, "# the site's", "none"], "{ran}");
        assert_eq!(fs::metadata(self.at("tmp/ran")).unwrap().uid(), USER, "{ran}");
    }
}

#[test]
fn purge_runs_as_the_agents_user_and_leaves_no_secret() {
    let Some(root) = Root::new(&[]) else { return };
    root.write("root/precious", "precious");
    let said = root.remove_and_purge(|| {
        // A script in place of the program where versions up to 0.1.0 kept it, and links to what is root's.
        let planted = root.attacker(
            "cd /var/lib/tidegate && if [ -e .purge ]; then mv .purge away; fi && mkdir .purge && \
             printf '#!/bin/sh\\nid -u >/root/proof\\n' >.purge/tidegate && chmod 755 .purge/tidegate && \
             ln -s /root/precious .purge/tidegate.toml && ln -s /root journal/out && ln -s /etc/passwd names",
        );
        assert!(planted, "the agent's user may do that");
        // And what the purge will run is not to be had.
        assert!(!root.attacker("echo x >>/var/lib/tidegate-purge/tidegate"));
        assert!(!root.attacker("mv /var/lib/tidegate-purge /var/lib/tidegate/mine"));
        assert!(!root.attacker("rm /var/lib/tidegate-purge/tidegate"));
    });
    assert!(!root.at("root/proof").exists(), "the agent's user became root");
    root.assert_ran_as_the_agents_user("forget-session --config /etc/tidegate/.purge.toml", &said);
    assert_eq!(fs::read_to_string(root.at("root/precious")).unwrap(), "precious", "links were not followed");
    assert!(root.at("etc/passwd").exists());
    assert_eq!(root.left(), Vec::<PathBuf>::new());
}

#[test]
fn the_purges_program_is_roots_until_a_new_installation() {
    let Some(root) = Root::new(&[]) else { return };
    let facts = |path: &str| {
        let facts = fs::metadata(root.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        (facts.uid(), facts.gid(), facts.mode() & 0o7777)
    };
    root.root(&["sh", "/packaging/prerm", "remove"]);
    assert_eq!(facts("var/lib/tidegate-purge"), (0, 0, 0o755));
    assert_eq!(facts("var/lib/tidegate-purge/tidegate"), (0, 0, 0o755));
    assert_eq!(facts("var/lib/tidegate-purge/tidegate.toml"), (0, USER, 0o640));
    fs::create_dir(root.at("var/lib/tidegate/.purge")).unwrap();
    root.root(&["sh", "/packaging/postinst", "configure", ""]);
    assert!(!root.at("var/lib/tidegate-purge").exists() && !root.at("var/lib/tidegate/.purge").exists());
    assert!(root.at("var/lib/tidegate/journal").exists() && root.at("etc/tidegate/mqtt-password").exists());
    fs::remove_file(root.at("etc/tidegate/tidegate.toml")).unwrap();
    root.root(&["sh", "/packaging/postinst", "configure", "0.1.0"]);
}

#[test]
fn tarball_purge_runs_as_the_agents_user_with_any_tool() {
    for without in [&[][..], &["setpriv"], &["setpriv", "runuser"]] {
        let Some(root) = Root::new(without) else { return };
        let said = root.on_a_terminal("sh /packaging/install.sh purge");
        root.assert_ran_as_the_agents_user("forget-session", &said);
        assert_eq!(root.left(), Vec::<PathBuf>::new(), "without {without:?}");
    }
    let Some(root) = Root::new(&["setpriv", "runuser", "su"]) else { return };
    let said = root.root(&["sh", "/packaging/install.sh", "purge"]);
    assert!(said.contains("none of setpriv, runuser and su") && said.contains("its queue grows"), "{said}");
    assert!(!root.at("tmp/ran").exists(), "not as root");
    assert_eq!(root.left(), Vec::<PathBuf>::new());
}
