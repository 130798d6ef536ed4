//! The way to the queue leads through a real HTTP proxy, tinyproxy or squid of Debian: it works, is down, refuses the tunnel, wants a
//! password, falls silent. Each of these has words of its own that name the queue's host and the proxy, and a remedy, and the records go
//! on by themselves when it is mended.
//!
//! What squid does otherwise: a wrong password it answers with 407, as HTTP has it, where tinyproxy says 401; it keeps the connection of a
//! tunnel that it refused, where tinyproxy closes it; and its refusals bring a page along.

use crate::slow_link::speak_tls;
use crate::support::link::has_own_network;
use crate::support::{Authority, LONG, PROGRAM, Publisher, QUEUE, config, mosquitto, stub, tail, until_online};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use testkit::agent::AgentProcess;
use testkit::skipped;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// Not of loopback, which no proxy is asked for.
const QUEUE_HOST: &str = "192.0.2.10";
const PROXY_PORT: u16 = 8888;
/// As `crypt` of the password "secret".
const SECRET: &str = "$1$tidegate$/L.Dnlo2ghEyIu3qTGHt/1";
const ANOTHER: &str = "$1$tidegate$8V3WCw.8oPR16R7/d.30D/";

fn peers(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers").join(path)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tinyproxy,
    Squid,
}

/// What is wrong with a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    Down,
    /// It permits tunnels to another port.
    Denies,
    /// It knows another password.
    Password,
    /// It takes connections, and says nothing.
    Silent,
}

/// A proxy that permits tunnels to a port, for those who know the password; ended when dropped.
struct Proxy {
    child: Child,
    /// Of shared memory that squid leaves behind when it is killed.
    service: String,
}

impl Proxy {
    async fn start(kind: Kind, folder: &Path, port: u16, fault: Fault) -> Proxy {
        let permitted = if fault == Fault::Denies { 1 } else { port };
        let service = format!("tg{}", std::process::id());
        let mut command = match kind {
            Kind::Tinyproxy => tinyproxy(folder, permitted, fault),
            Kind::Squid => squid(folder, permitted, fault, &service),
        };
        let mut child = command.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        while TcpStream::connect(("127.0.0.1", PROXY_PORT)).await.is_err() {
            assert!(child.try_wait().unwrap().is_none(), "{kind:?} has ended");
            tokio::task::yield_now().await;
        }
        let proxy = Proxy { child, service };
        if fault == Fault::Silent {
            proxy.signal(Signal::STOP);
        }
        proxy
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| Pid::from_raw(id as i32)).expect("it runs");
        kill_process(id, signal).unwrap();
    }

    async fn end(mut self) {
        self.child.kill().await.unwrap();
        for left in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if left.file_name().to_string_lossy().starts_with(&self.service) {
                let _ = std::fs::remove_file(left.path());
            }
        }
    }
}

fn tinyproxy(folder: &Path, permitted: u16, fault: Fault) -> Command {
    let (file, log) = (folder.join("tinyproxy.conf"), folder.join("tinyproxy.log"));
    let password = if fault == Fault::Password { "another" } else { "secret" };
    let text = format!(
        "Port {PROXY_PORT}\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nAllow 127.0.0.1\nBasicAuth gateway {password}\n\
         ConnectPort {permitted}\nLogLevel Info\nLogFile \"{}\"\n",
        log.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(peers("tinyproxy/usr/bin/tinyproxy"));
    command.arg("-d").arg("-c").arg(&file);
    command
}

fn squid(folder: &Path, permitted: u16, fault: Fault, service: &str) -> Command {
    let (file, passwords, helper) =
        (folder.join("squid.conf"), folder.join("passwords"), folder.join("basic_ncsa_auth"));
    // It lets go of root, and cannot look into every folder then.
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    if !helper.exists() {
        std::fs::copy(peers("squid/usr/lib/squid/basic_ncsa_auth"), &helper).unwrap();
    }
    let hash = if fault == Fault::Password { ANOTHER } else { SECRET };
    std::fs::write(&passwords, format!("gateway:{hash}\n")).unwrap();
    let share = |path: &str| peers("squid/usr/share").join(path).display().to_string();
    let (lib, mimes, pages) =
        (peers("squid/usr/lib/squid"), share("squid/mime.conf"), share("squid-langpack/templates"));
    let text = format!(
        "http_port 127.0.0.1:{PROXY_PORT}\nvisible_hostname proxy.test\ncache_effective_user nobody\npid_filename none\n\
         cache_log /dev/null\naccess_log none\nnetdb_filename none\ncoredump_dir {folder}\nmax_filedescriptors 256\n\
         mime_table {mimes}\nerror_directory {pages}\nicon_directory {icons}\nunlinkd_program {lib}/unlinkd\n\
         logfile_daemon {lib}/log_file_daemon\npinger_enable off\ncache deny all\ncache_mem 8 MB\n\
         auth_param basic program {helper} {passwords}\nauth_param basic children 1\n\
         acl known proxy_auth REQUIRED\nacl queue port {permitted}\n\
         http_access deny !known\nhttp_access deny !queue\nhttp_access allow CONNECT\nhttp_access deny all\n",
        folder = folder.display(),
        icons = share("squid/icons"),
        lib = lib.display(),
        helper = helper.display(),
        passwords = passwords.display(),
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(peers("squid/usr/sbin/squid"));
    command.args(["-N", "-n", service, "-f"]).arg(&file).env("LD_LIBRARY_PATH", peers("squid/lib"));
    command.stderr(Stdio::null());
    command
}

/// All that goes wrong with a proxy, one after the other; `patient`: the test does not tell the agent that it is
/// mended.
async fn each_fault(kind: Kind, faults: &[(Fault, &str, &str)], patient: bool) {
    let ip = std::process::Command::new("ip").args(["addr", "add", "192.0.2.10/32", "dev", "lo"]).status().unwrap();
    assert!(ip.success());
    let (broker, stub, ca) = (mosquitto().await, stub(), Authority::new());
    let listener = TcpListener::bind((QUEUE_HOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(speak_tls(listener, ca.acceptor(QUEUE_HOST), stub.addr()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
    let mut configuration = config(broker.addr(), &stub);
    (configuration.profile, configuration.topics) = ("generic".into(), vec!["load/#".into()]);
    configuration.queues[0].endpoint = Some(format!("https://{QUEUE_HOST}:{port}"));
    let ca_file = folder.path().join("ca.pem");
    configuration.queues[0].extra += &format!("\nca_file = \"{}\"\nconnect_timeout = \"1 s\"", ca_file.display());
    let address = format!("http://gateway:secret@127.0.0.1:{PROXY_PORT}");
    configuration.environment.push(("HTTPS_PROXY".into(), address));

    let mut proxy = Proxy::start(kind, folder.path(), port, Fault::None).await;
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until_online(&mut agent).await;
    let mut publisher = Publisher::new(broker.addr());
    publisher.publish("load/device-0", "{\"n\":0}").await;
    let first = stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 1).await;
    first.unwrap_or_else(|late| panic!("{late}\n{}", tail(&agent.log())));
    let way = format!("{QUEUE_HOST}:{port} by way of the proxy 127.0.0.1:{PROXY_PORT}");
    for (n, &(fault, words, remedy)) in faults.iter().enumerate() {
        proxy.end().await;
        let broken =
            if fault == Fault::Down { None } else { Some(Proxy::start(kind, folder.path(), port, fault).await) };
        publisher.publish("load/device-0", format!("{{\"n\":{}}}", n + 1)).await;
        let drain = |s: &Value| s["queues"][0]["drain"].to_string();
        let told = |s: &Value| drain(s).contains(words);
        let status = agent.wait_status(words, LONG, told).await.unwrap();
        println!("{kind:?}, {fault:?}: {}", status["queues"][0]["drain"]["last_fault"]);
        assert!(drain(&status).contains(&way) && drain(&status).contains(remedy), "{:#}", status["queues"][0]["drain"]);
        if let Some(broken) = broken {
            broken.end().await;
        }
        proxy = Proxy::start(kind, folder.path(), port, Fault::None).await;
        if fault == Fault::Password && !patient {
            agent.retry().unwrap();
        }
        let more = stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= n as u64 + 2).await;
        more.unwrap_or_else(|late| panic!("{late}\n{}", tail(&agent.log())));
    }
    assert!(!agent.log().contains("secret"), "no password in the log");
    agent.kill().await.unwrap();
    proxy.end().await;
}

const DOWN: (Fault, &str, &str) = (Fault::Down, "refused", "check that a server listens at 127.0.0.1:8888");
const DENIES: (Fault, &str, &str) = (Fault::Denies, "the proxy does not open a tunnel", "permit CONNECT");
const SILENT: (Fault, &str, &str) =
    (Fault::Silent, "no connection within", "curl -v -x http://127.0.0.1:8888 https://192.0.2.10");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_real_proxy_fault_is_named_and_ends_by_itself() {
    if !peers("tinyproxy/usr/bin/tinyproxy").exists() {
        return skipped("tinyproxy is not there: scripts/peers.sh");
    }
    if !has_own_network("proxy::each_real_proxy_fault_is_named_and_ends_by_itself") {
        return;
    }
    let password = (Fault::Password, "the proxy does not open a tunnel", "password in HTTPS_PROXY");
    each_fault(Kind::Tinyproxy, &[DOWN, DENIES, password, SILENT], true).await;
}

/// squid's 407.
const PASSWORD: (Fault, &str, &str) =
    (Fault::Password, "the proxy wants a user name and password", "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT");

/// A lane that waits for a password looks once a minute; a person who has mended it need not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_squid_has_its_words_and_ends() {
    if !peers("squid/usr/sbin/squid").exists() {
        return skipped("squid is not there: scripts/peers.sh");
    }
    if !has_own_network("proxy::each_fault_of_squid_has_its_words_and_ends") {
        return;
    }
    each_fault(Kind::Squid, &[DOWN, DENIES, PASSWORD, SILENT], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn password_that_squid_knows_again_is_noticed_without_a_word() {
    if !peers("squid/usr/sbin/squid").exists() {
        return skipped("squid is not there: scripts/peers.sh");
    }
    if !has_own_network("proxy::password_that_squid_knows_again_is_noticed_without_a_word") {
        return;
    }
    each_fault(Kind::Squid, &[PASSWORD], true).await;
}
