//! What a queue's URL tells: endpoint, region, account, name, and whether it is a FIFO queue.

/// A queue URL, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueUrl {
    /// The URL as configured.
    pub text: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host, without port.
    pub host: String,
    /// Port, when the URL names one.
    pub port: Option<u16>,
    /// Region, when the host is one of SQS's standard ones.
    pub region: Option<String>,
    /// Account id: twelve digits.
    pub account: String,
    /// Queue name, with `.fifo` if it has it.
    pub name: String,
    /// Whether the name ends in `.fifo`.
    pub fifo: bool,
}
