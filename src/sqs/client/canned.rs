//! A sender whose answers are given instead of fetched: everything of ours and of the SDK's runs, but the network. For
//! fuzzers alone; a shipped build has none of it.

use crate::config::CredentialsSource;
use crate::sqs::client::{Clock, Keys, QueueConfig, Shared, SqsSender, Tie, sdk_client};
use crate::sqs::credentials::CsvKeys;
use crate::sync::locked;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use std::sync::{Arc, Mutex};

/// What the next attempts are answered with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canned(Arc<Mutex<http::Response<Vec<u8>>>>);

impl Canned {
    /// Puts an answer in the place of the one before.
    pub(crate) fn set(&self, answer: http::Response<Vec<u8>>) {
        *locked(&self.0) = answer;
    }
}

impl HttpConnector for Canned {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let answer = locked(&self.0).clone().map(SdkBody::from);
        let answer = HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(error.into(), None));
        HttpConnectorFuture::ready(answer)
    }
}

impl HttpClient for Canned {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl SqsSender {
    /// A sender for `queue`, whose credentials must be a file, on given answers.
    pub(crate) fn canned(queue: &QueueConfig, answers: &Canned) -> SqsSender {
        let CredentialsSource::CsvFile(path) = &queue.credentials else { panic!("a queue with a file of credentials") };
        let (keys, clock) = (Keys::Csv(CsvKeys::new(path)), Clock::new(None));
        let tie = Tie::of(queue).expect("a queue that can be used");
        let client = sdk_client(&tie, answers.clone(), keys.clone());
        let reach = crate::sqs::client::reach::Reach::nowhere();
        SqsSender::on(Arc::new(Shared { client, keys, clock, tie, reach }), queue)
    }
}
