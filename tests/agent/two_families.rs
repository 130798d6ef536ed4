//! The queue's name has an IPv4 and an IPv6 address, by the system's own resolver, and packets of one family vanish on the way: the other
//! one is used at once, whichever the system puts first; a family that is back is used again.
//!
//! Each test has a network and mounts of its own; the server is in another network namespace, behind a pair of veth. A family vanishes
//! where no host has the hardware address of its next hop: its packets are dropped, not refused, and no sign of it
//! reaches the agent.

use crate::support::link::has_own_network;
use crate::support::{Authority, LONG, PROGRAM, Publisher, QUEUE, config, mosquitto, stub, tail, until_online};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testkit::agent::AgentProcess;
use testkit::port::HeldPort;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const HOST: &str = "queue.test";
const V4: Family = Family { address: "192.0.2.10/32", near: "198.51.100.1/24", next: "198.51.100.2", is_v6: false };
const V6: Family = Family { address: "2001:db8::10/128", near: "2001:db8:9::1/64", next: "2001:db8:9::2", is_v6: true };
/// Hardware addresses: the gateway's, the next hop's, one that no host has.
const NEAR: &str = "02:00:00:00:00:01";
const RIGHT: &str = "02:00:00:00:00:02";
const NOBODY: &str = "02:00:00:00:00:99";
/// Less than half of the part that each address had if they shared the connection's time.
const SOON: Duration = Duration::from_secs(5);
/// A connection of before that carries nothing any more is noticed after three seconds.
const NOTICED: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Family {
    /// Of the server.
    address: &'static str,
    /// Of the gateway.
    near: &'static str,
    /// On the way to the server.
    next: &'static str,
    is_v6: bool,
}

impl Family {
    /// Whether its packets come to the next hop; otherwise they vanish without a sign.
    fn carry(self, yes: bool) {
        let hop = if yes { RIGHT } else { NOBODY };
        ip(&format!("neigh replace {} lladdr {hop} dev near0 nud permanent", self.next));
    }
}

/// Connections of each family that the server took.
#[derive(Debug, Default)]
struct Taken([AtomicU64; 2]);

impl Taken {
    fn of(&self, family: Family) -> u64 {
        self.0[usize::from(family.is_v6)].load(Relaxed)
    }
}

fn run(program: &str, line: &str) {
    let status = Command::new(program).args(line.split(' ')).status().unwrap();
    assert!(status.success(), "{program} {line}");
}

fn ip(line: &str) {
    run("ip", line);
}

/// The network behind a pair of veth, and who keeps it there.
struct Far {
    keeper: tokio::process::Child,
}

impl Far {
    async fn new() -> Far {
        let mut command = tokio::process::Command::new("unshare");
        let keeper = command.args(["--net", "sleep", "infinity"]).kill_on_drop(true).spawn().unwrap();
        let far = Far { keeper };
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        while std::fs::read_link(far.namespace()).is_ok_and(|theirs| theirs == ours) {
            tokio::task::yield_now().await;
        }
        ip(&format!("link add near0 address {NEAR} type veth peer name far0 address {RIGHT} netns {}", far.id()));
        // An address of the kernel's own would come a second later, and be a sign for the agent.
        ip("link set near0 addrgenmode none");
        far.ip("link set far0 addrgenmode none");
        for family in [V4, V6] {
            let Family { address, near, next, .. } = family;
            let nodad = if family.is_v6 { " nodad" } else { "" };
            ip(&format!("addr add {near} dev near0{nodad}"));
            far.ip(&format!("addr add {next}/{} dev far0{nodad}", near.split('/').next_back().unwrap()));
            far.ip(&format!("addr add {address} dev lo{nodad}"));
        }
        far.ip("link set lo up");
        far.ip("link set far0 up");
        ip("link set near0 up");
        for family in [V4, V6] {
            let Family { address, near, next, .. } = family;
            ip(&format!("route add {address} via {next}"));
            far.ip(&format!("neigh replace {} lladdr {NEAR} dev far0 nud permanent", near.split('/').next().unwrap()));
            family.carry(true);
        }
        // The kernel enters the last routes when it has seen the carrier, up to a second later.
        let is_up = || {
            let told = Command::new("ip").args(["link", "show", "near0"]).output().unwrap().stdout;
            String::from_utf8_lossy(&told).contains("state UP")
        };
        while !is_up() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        far
    }

    fn id(&self) -> u32 {
        self.keeper.id().expect("it runs")
    }

    fn namespace(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.id()).into()
    }

    fn ip(&self, line: &str) {
        run("nsenter", &format!("--net=/proc/{}/ns/net ip {line}", self.id()));
    }
}

/// The system's resolver gives both addresses of the name, those of `first` first.
fn resolve(folder: &Path, first: Family) {
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        let target = format!("/etc/{name}");
        // A place to mount upon, on a system that has none.
        drop(std::fs::File::options().create(true).append(true).open(&target).unwrap());
        run("mount", &format!("--bind {} {target}", file.display()));
    };
    write("hosts", &format!("127.0.0.1 localhost\n192.0.2.10 {HOST}\n2001:db8::10 {HOST}\n"));
    // Without it IPv6 goes first: RFC 6724.
    write("gai.conf", if first.is_v6 { "" } else { "precedence ::ffff:0:0/96 100\n" });
    let told = Command::new("getent").args(["ahosts", HOST]).output().unwrap().stdout;
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with(first.address.split('/').next().unwrap()), "{told}");
    assert!(told.contains("192.0.2.10") && told.contains("2001:db8::10"), "{told}");
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, stub: SocketAddr, taken: Arc<Taken>) {
    while let Ok((stream, peer)) = listener.accept().await {
        taken.0[usize::from(peer.ip().to_canonical().is_ipv6())].fetch_add(1, Relaxed);
        let tls = tls.clone();
        tokio::spawn(async move {
            let mut stream = tls.accept(stream).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut TcpStream::connect(stub).await?).await
        });
    }
}

/// The first family vanishes, comes back while the second one vanishes, and the second one comes back.
async fn either_family_carries(first: Family, second: Family) {
    let (broker, stub, ca, far) = (mosquitto().await, stub(), Authority::new(), Far::new().await);
    let folder = tempfile::tempdir().unwrap();
    resolve(folder.path(), first);
    let port = HeldPort::take_in(&far.namespace(), IpAddr::V6(Ipv6Addr::UNSPECIFIED)).unwrap();
    let taken = Arc::new(Taken::default());
    tokio::spawn(serve(port.listen().unwrap(), ca.acceptor(HOST), stub.addr(), taken.clone()));
    first.carry(false);
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca.pem()).unwrap();
    let mut configuration = config(broker.addr(), &stub);
    (configuration.profile, configuration.topics) = ("generic".into(), vec!["load/#".into()]);
    configuration.queues[0].endpoint = Some(format!("https://{HOST}:{}", port.addr().port()));
    configuration.queues[0].extra += &format!("\nca_file = \"{}\"\nconnect_timeout = \"30 s\"", ca_file.display());
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until_online(&mut agent).await;
    let mut publisher = Publisher::new(broker.addr());
    let mut count = 0;
    let mut sends = async |what: &str, limit: Duration| {
        count += 1;
        let start = Instant::now();
        publisher.publish("load/device-0", format!("{{\"n\":{count}}}")).await;
        if let Err(late) = stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= count).await {
            panic!("{what}: {late}\n{}", tail(&agent.log()));
        }
        println!("{what}: accepted after {:?}", start.elapsed());
        assert!(start.elapsed() < limit, "{what}: {:?}\n{}", start.elapsed(), tail(&agent.log()));
    };

    sends("the first family vanishes", SOON).await;
    assert_eq!((taken.of(first), taken.of(second) > 0), (0, true), "{taken:?}");

    first.carry(true);
    second.carry(false);
    sends("the first is back, and the second one vanishes under a connection", NOTICED + SOON).await;
    assert!(taken.of(first) > 0, "{taken:?}");

    second.carry(true);
    let before = (taken.of(first), taken.of(second));
    sends("both are there", SOON).await;
    assert_eq!((taken.of(first), taken.of(second)), before, "the connection goes on: {taken:?}");
    agent.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_that_vanishes_costs_a_moment() {
    if has_own_network("two_families::ipv6_that_vanishes_costs_a_moment") {
        either_family_carries(V6, V4).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv4_that_vanishes_costs_a_moment() {
    if has_own_network("two_families::ipv4_that_vanishes_costs_a_moment") {
        either_family_carries(V4, V6).await;
    }
}
