//! Headers that the SDK adds to each request, and SQS does not ask for: the same words about the SDK twice, and numbers of
//! attempts, which are ours to count. They took 290 of 870 bytes of headers, and a link of 10 kbit/s a quarter of a second for each request.
//!
//! `User-Agent` stays, in short: middle boxes refuse requests without one.

use aws_sdk_sqs::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;

/// Who sends, in the access logs of the service and of proxies.
const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// Takes them off again.
#[derive(Debug)]
pub(super) struct FewHeaders;

impl Intercept for FewHeaders {
    fn name(&self) -> &'static str {
        "FewHeaders"
    }

    /// What would be signed, before it is.
    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        headers.remove("x-amz-user-agent");
        headers.insert("user-agent", USER_AGENT);
        Ok(())
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        headers.remove("amz-sdk-request");
        headers.remove("amz-sdk-invocation-id");
        Ok(())
    }
}
