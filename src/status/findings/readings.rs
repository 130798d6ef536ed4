//! What becomes of readings, in one sentence: what a person on a ladder wants to know first. Pure.

use crate::status::findings::{Code, Finding};
use serde::{Deserialize, Serialize};

/// What becomes of readings now; the worst that is so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readings {
    /// None is being lost.
    #[default]
    Safe,
    /// None is lost yet, and some may be.
    AtRisk,
    /// Some were lost, and that is over.
    WereLost,
    /// What is sent now waits at the broker, which is connected, as long as it has room.
    AtBroker,
    /// What is sent now does not come in: the broker is away, or refuses the agent. Whether it keeps it cannot be seen.
    NotComing,
    /// Some are being lost.
    BeingLost,
}

impl Readings {
    /// By the findings; `evicting`: the journal gives up records to make room.
    pub(crate) fn of(findings: &[Finding], evicting: bool) -> Readings {
        let worst = findings.iter().map(|finding| of_code(finding.code)).max().unwrap_or_default();
        let told = findings.iter().any(|finding| finding.code == Code::RecordsEvicted);
        if evicting && told { Readings::BeingLost } else { worst }
    }

    /// In a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Readings::Safe => "No reading is being lost.",
            Readings::AtRisk => "No reading is being lost now; when a connection or the power fails, some may be.",
            Readings::WereLost => "Readings were lost before. What comes now is kept.",
            Readings::AtBroker => "What sensors send now waits at the broker, as long as that has room.",
            Readings::NotComing => {
                "What sensors send now does not come in. It is lost unless the broker, or the network server before it, keeps it."
            }
            Readings::BeingLost => "Readings are being lost now.",
        }
    }
}

/// Exhaustive: a new code has to say what it does to readings.
fn of_code(code: Code) -> Readings {
    match code {
        Code::ClientIdTwice | Code::FilterRefused => Readings::BeingLost,
        Code::JournalNotOpen
        | Code::JournalUnwritable
        | Code::JournalStalled
        | Code::JournalReadOnly
        | Code::JournalFull
        | Code::JournalBehind
        | Code::BrokerMessageTooLarge
        | Code::AgentStarting => Readings::AtBroker,
        Code::BrokerPasswordFile
        | Code::BrokerRefusesLogin
        | Code::BrokerRefusesClientId
        | Code::BrokerRefusesVersion
        | Code::BrokerCertificate
        | Code::BrokerNotMqtt
        | Code::BrokerNotPermitted
        | Code::BrokerQos2Session
        | Code::BrokerAway => Readings::NotComing,
        Code::RecordsEvicted
        | Code::RecordsDamaged
        | Code::JournalMissing
        | Code::JournalStateLost
        | Code::SessionLost
        | Code::MessagesOversize
        | Code::MessagesDropped
        | Code::MessagesUnrouted
        | Code::JournalSetAside => Readings::WereLost,
        Code::FilterQos0
        | Code::BrokerPasswordLost
        | Code::RouteQos0
        | Code::RouteSilent
        | Code::JournalInRam
        | Code::JournalMoved
        | Code::JournalDiskLow
        | Code::JournalCopied => Readings::AtRisk,
        Code::RecordsQuarantined
        | Code::QueueNotConfigured
        | Code::QueueParked
        | Code::QueueKeyFile
        | Code::QueueCannotRead
        | Code::RecordSuspect
        | Code::JournalForeign
        | Code::JournalWriterPanics
        | Code::JournalNoReserve
        | Code::QueueOffline
        | Code::QueueThrottled
        | Code::QueueWindowFull
        | Code::UplinkSlow
        | Code::ConfigurationMistake
        | Code::ConfigurationRefused
        | Code::PageClosed
        | Code::ClockWrong => Readings::Safe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::findings::Severity;

    fn of(codes: &[Code], evicting: bool) -> Readings {
        let findings: Vec<Finding> = codes.iter().map(|code| Finding::new(*code, Severity::Act, "it is so")).collect();
        Readings::of(&findings, evicting)
    }

    #[test]
    fn the_worst_that_is_so_is_said() {
        assert_eq!(of(&[], false), Readings::Safe);
        assert_eq!(of(&[Code::QueueOffline, Code::RecordsQuarantined], false), Readings::Safe);
        assert_eq!(of(&[Code::QueueOffline, Code::RouteQos0], false), Readings::AtRisk);
        assert_eq!(of(&[Code::SessionLost, Code::JournalFull], false), Readings::AtBroker);
        assert_eq!(of(&[Code::JournalFull, Code::BrokerAway], false), Readings::NotComing);
        assert_eq!(of(&[Code::ClientIdTwice, Code::BrokerAway], false), Readings::BeingLost);
    }

    #[test]
    fn readings_are_being_lost_until_evictions_pause_for_a_while() {
        let codes = [Code::QueueOffline, Code::RecordsEvicted];
        assert_eq!(of(&codes, true), Readings::BeingLost);
        assert_eq!(of(&codes, false), Readings::WereLost);
        assert_eq!(of(&[Code::QueueOffline], true), Readings::Safe, "it was acknowledged");
    }
}
