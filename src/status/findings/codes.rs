//! The codes of findings, with what each costs and what a person does about it: the one list behind status, page, metrics and
//! `docs/troubleshooting.md`.
//!
//! A code is a stable word: machines hang on it. A code that is no longer used stays unused. The order is that of urgency, among
//! findings of one severity.

use serde::{Serialize, Serializer};

/// What a code means wherever it is found.
#[derive(Debug)]
pub struct Row {
    /// The code.
    pub code: Code,
    /// Its word.
    pub word: &'static str,
    /// Words that every text of such a finding contains.
    pub says: &'static str,
    /// What it costs while it lasts, as a sentence without its full stop.
    pub cost: &'static str,
    /// What a person does, as an imperative; empty where nothing is to be done, or each finding says it.
    pub remedy: &'static str,
    /// The command to run; empty where nothing is to be done.
    pub command: &'static str,
}

/// Edits the configuration and puts it into effect.
pub(super) const EDIT: &str = "sudo nano /etc/tidegate/tidegate.toml && sudo systemctl reload tidegate";
const BROKER_LOG: &str = "sudo journalctl -u mosquitto -n 50";
pub(super) const CHECK: &str = "sudo tidegate check";
pub(super) const ACKNOWLEDGE: &str = "sudo tidegate acknowledge";
const KERNEL_LOG: &str = "sudo dmesg --human --nopager";
const STAYS: &str =
    "no new message comes; a broker that runs keeps them for a client that it knows, as long as it has room";
const NOT_ACKED: &str = "nothing new is taken: the broker holds what comes, as long as it has room";
const QUEUE_WAITS: &str = "what the journal still has for this queue waits there";

macro_rules! codes {
    ($($name:ident $word:literal $says:literal $cost:expr, $remedy:expr, $command:expr;)*) => {
        /// What a finding is about, as a word that stays.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code {
            $(#[doc = $says] $name),*
        }

        /// Every code, in the order of urgency.
        pub const CODES: &[Row] = &[$(Row {
            code: Code::$name, word: $word, says: $says, cost: $cost, remedy: $remedy, command: $command,
        }),*];
    };
}

codes! {
    JournalNotOpen "journal_not_open" "the journal is not open"
        "no message is taken; a broker that runs keeps them as long as it has room",
        "see what keeps the agent's user from its folder", CHECK;
    JournalUnwritable "journal_unwritable" "journal cannot be written"
        NOT_ACKED, "check the card, its free space, and that it is not mounted read-only", "df -h; sudo dmesg --human --nopager";
    JournalStalled "journal_stalled" "for the journal's disk, which has finished nothing"
        NOT_ACKED, "see why the disk hangs; exchange the card if it goes on", KERNEL_LOG;
    JournalMoved "journal_moved" "is no longer the folder that the agent has open"
        "what comes is kept where no path leads, and soon nothing can be written",
        "put the folder back where it was, or mount its disk again; for another folder set journal.path; then: sudo systemctl restart tidegate",
        "findmnt --target /var/lib/tidegate/journal";
    JournalReadOnly "journal_read_only" "the journal's disk is read-only"
        "what came before is drained, each message marked as a possible duplicate; new messages stay with the broker",
        "see why (dmesg), then make it writable (mount -o remount,rw; if that is refused, reboot, so that fsck mends it) or replace it before the broker runs full", KERNEL_LOG;
    JournalFull "journal_full" "the journal is full"
        NOT_ACKED, "mend the uplink, or raise the bound", EDIT;
    BrokerPasswordFile "broker_password_file" "mqtt.password_file"
        STAYS, "", "sudo chown root:tidegate FILE && sudo chmod 640 FILE";
    BrokerPasswordLost "broker_password_lost" "the next connection to the broker would have no password"
        "messages come while this connection lasts; after it none comes", "", "sudo chown root:tidegate FILE && sudo chmod 640 FILE";
    BrokerRefusesLogin "broker_refuses_login" "the broker does not let us in"
        STAYS, "correct mqtt.username and the file that mqtt.password_file names", CHECK;
    BrokerRefusesClientId "broker_refuses_client_id" "the broker refused the client id"
        STAYS, "", EDIT;
    BrokerRefusesVersion "broker_refuses_version" "does not take MQTT 3.1.1"
        STAYS, "enable MQTT 3.1.1 in the broker", CHECK;
    BrokerCertificate "broker_certificate" "TLS with"
        STAYS, "", CHECK;
    BrokerNotMqtt "broker_not_mqtt" "breaks MQTT 3.1.1"
        STAYS, "", CHECK;
    BrokerNotPermitted "broker_not_permitted" "not allowed to open"
        STAYS, "let the agent's user open the broker's socket", CHECK;
    BrokerMessageTooLarge "broker_message_too_large" "the broker holds a message of"
        "everything behind it waits at the broker", "", BROKER_LOG;
    BrokerQos2Session "broker_qos2_session" "QoS 2 handshake"
        STAYS, "end this client's session in the broker, which drops what it holds for us", BROKER_LOG;
    ClientIdTwice "client_id_twice" "a second client uses the client id"
        "the broker hands each message to the one or the other, so this gateway gets only some",
        "find the other client, and give one of the two another mqtt.client_id", BROKER_LOG;
    BrokerAway "broker_away" "the broker is away"
        STAYS, "see whether the broker runs", "sudo systemctl status mosquitto";
    FilterRefused "filter_refused" "refused the filter"
        "nothing of it comes", "let this client read it in the broker's ACL", BROKER_LOG;
    FilterQos0 "filter_qos0" "with QoS 0 only"
        "what the broker sends under it is lost whenever the connection or the gateway fails",
        "let the broker grant QoS 1 to this client", BROKER_LOG;
    RouteSilent "route_silent" "is silent while the broker has traffic"
        "if sensors publish for it, nothing of them arrives",
        "compare its topics with what the broker carries, and let this client read them in the broker's ACL",
        "sudo tidegate explain";
    RouteQos0 "route_qos0" "came with QoS 0"
        "they arrive, but the broker keeps none of them: a restart or a broken connection loses some",
        "set QoS 1 at the publisher", "sudo tidegate explain";
    JournalMissing "journal_missing" "the journal of before is missing"
        "what waited in it is sent by no agent",
        "see whether the disk of the journal is mounted, and whether its folder was moved; stop the agent to put it back, or acknowledge that there is none: sudo tidegate acknowledge",
        "findmnt --target /var/lib/tidegate/journal";
    SessionLost "session_lost" "did not keep our session"
        "what the broker held for us is lost",
        "let it keep sessions over a restart (Mosquitto: persistence true), or use a broker that can; a broker in memory cannot; when that is done, acknowledge the loss",
        "sudo tidegate acknowledge";
    RecordsEvicted "records_evicted" "evicted"
        "they are lost, and gap records in the queue say so",
        "mend what keeps the queue from taking records, or give the journal more room; when that is done, acknowledge the loss",
        "sudo tidegate acknowledge";
    RecordsQuarantined "records_quarantined" "went to quarantine"
        "it reaches no consumer until a person decides",
        "see why, then send it again (journal quarantine requeue) or drop it; when that is done, acknowledge it",
        "sudo tidegate journal quarantine list";
    RecordsDamaged "records_damaged" "cannot be read back"
        "they are lost, and gap records in the queue say so",
        "check the card (dmesg), and exchange it if it fails; when that is done, acknowledge the loss",
        "sudo tidegate acknowledge";
    JournalStateLost "journal_state_lost" "the journal's state was lost"
        "what is on disk is sent again, marked; what was not may be lost, and counts as accepted",
        "check the card (dmesg), and see in what reads the queue whether readings are missing; when that is done, acknowledge the loss",
        "sudo tidegate acknowledge";
    MessagesOversize "messages_oversize" "over mqtt.max_payload_bytes"
        "they are lost but for their heads, which lie in quarantine", "raise mqtt.max_payload_bytes, or find the publisher; when that is done, acknowledge the loss",
        "sudo tidegate journal quarantine list";
    MessagesDropped "messages_dropped" "the broker dropped"
        "they are lost, unless they were meant for another client of the broker",
        "raise max_queued_messages in the broker; when that is done, acknowledge the loss", "sudo tidegate acknowledge";
    MessagesUnrouted "messages_unrouted" "to no route"
        "they are acknowledged and not journaled",
        "name their topics in a route (tidegate journal quarantine list shows the first ones); when that is done, acknowledge the loss",
        EDIT;
    QueueNotConfigured "queue_not_configured" "which is not configured"
        "they wait in the journal and go nowhere", "", EDIT;
    QueueParked "queue_parked" "parked until it is mended"
        QUEUE_WAITS, "", CHECK;
    QueueKeyFile "queue_key_file" "its key's file cannot be used any more"
        "records go with the former key; after the next start or reload nothing goes", "put the key's .csv there anew",
        "sudo tidegate credentials import FILE.csv";
    QueueCannotRead "queue_cannot_read" "the journal cannot be read"
        QUEUE_WAITS, "check the card; what stays unreadable is set aside after two minutes", KERNEL_LOG;
    RecordSuspect "record_suspect" "does not get through although all others do"
        "its message group waits", "let the filter or proxy on the way pass it", "sudo tidegate journal show NUMBER";
    JournalSetAside "journal_set_aside" "was set aside"
        "what it held is counted as damaged",
        "check the card (dmesg); it is tried again at each start and once a day, and what can be read then is sent; to give it up, remove the folder aside in the journal's",
        KERNEL_LOG;
    JournalForeign "journal_foreign" "of another journal"
        "what waits in them is not sent",
        "find out who copied one journal over another; then have it sent, or give it up, as docs/field-guide.md says (Replace a dead gateway)",
        "sudo ls -l /var/lib/tidegate/journal/aside";
    JournalDiskLow "journal_disk_low" "are free on the journal's disk"
        "at the bound the oldest records go, or nothing is acknowledged",
        "free space there, or set journal.min_free lower", "df -h";
    JournalInRam "journal_in_ram" "lies in RAM"
        "a power cut loses what waits", "set journal.path to a folder on flash", CHECK;
    JournalWriterPanics "journal_writer_panics" "the journal's writer panicked"
        "tidegate continues and loses nothing by it", "please report it with the file that the command makes",
        "sudo tidegate bundle";
    ConfigurationMistake "configuration_mistake" "the configuration file has a mistake"
        "the agent runs on the configuration of before; it would not start with this one",
        "", EDIT;
    ConfigurationRefused "configuration_refused" "configuration not reloaded"
        "the agent runs on the configuration of before", "", EDIT;
    JournalCopied "journal_copied" "this journal was copied from another gateway"
        "until somebody decides, what the broker holds may go to the other gateway", "", EDIT;
    PageClosed "page_closed" "the status page stays closed"
        "page and metrics answer nobody", "", "sudo tidegate check";
    AgentStarting "agent_starting" "the agent is starting"
        "no message is taken yet; a broker that runs keeps them as long as it has room", "", "";
    QueueOffline "queue_offline" "offline"
        QUEUE_WAITS, "see where the way to the queue ends", CHECK;
    QueueThrottled "queue_throttled" "throttled"
        QUEUE_WAITS, "", "";
    QueueWindowFull "queue_window_full" "held up by group"
        QUEUE_WAITS, "look at the queue's last fault", "sudo tidegate status --json";
    UplinkSlow "uplink_slow" "the uplink is slow"
        QUEUE_WAITS, "", "";
    JournalBehind "journal_behind" "waits for the journal's disk"
        "tidegate takes no more until half of it is durable; the broker keeps the rest as long as it has room", "", "";
    JournalNoReserve "journal_no_reserve" "reserve for a full disk"
        "on a full disk the journal has no room of its own to drain", "free space on its disk", "df -h";
    ClockWrong "clock_wrong" "the clock is wrong"
        "times are corrected once it is right", "see whether a time server is reached", "timedatectl";
}

/// What was lost, and stays a finding until a person acknowledges it. All else goes once it is mended.
pub(crate) const LOSSES: [Code; 9] = [
    Code::JournalMissing,
    Code::SessionLost,
    Code::RecordsEvicted,
    Code::RecordsQuarantined,
    Code::RecordsDamaged,
    Code::JournalStateLost,
    Code::MessagesOversize,
    Code::MessagesDropped,
    Code::MessagesUnrouted,
];

impl Code {
    /// What it means.
    pub fn row(self) -> &'static Row {
        &CODES[self as usize]
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        self.row().word
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}
