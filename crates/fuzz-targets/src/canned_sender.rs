//! A sender whose answers are given instead of fetched: everything of ours and of the SDK's runs, but the network.

use crate::locked;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use std::sync::{Arc, Mutex};
use tidegate::sqs::client::{SenderOptions, SqsSender};

/// What the next attempts are answered with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canned(Arc<Mutex<http::Response<Vec<u8>>>>);

impl Canned {
    /// Puts an answer in the place of the one before.
    pub(crate) fn set(&self, answer: http::Response<Vec<u8>>) {
        *locked(&self.0) = answer;
    }

    /// A sender whose credentials must be a file, that gets these answers.
    pub(crate) fn sender(&self, options: &SenderOptions) -> SqsSender {
        SqsSender::over(self.clone(), options)
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
