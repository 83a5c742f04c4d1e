//! Whether a list page came to its end. The AWS client takes a document that stops in the middle for a short one, and a
//! listing that stops there would be a listing with photos missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

const END_OF_PAGE: &[u8] = b"ListBucketResult>";

/// Looks at the answers of one request; clones share what they saw last.
#[derive(Debug, Clone, Default)]
pub(crate) struct PageEnd {
    is_missing: Arc<AtomicBool>,
}

impl PageEnd {
    /// Whether the last answer stopped before its end.
    pub(crate) fn is_missing(&self) -> bool {
        self.is_missing.load(Ordering::Relaxed)
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for PageEnd {
    fn name(&self) -> &'static str {
        "PageEnd"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The client has read all of it before it looked at any.
        let page = context.response().body().bytes();
        let is_missing = page.is_some_and(|page| !page.trim_ascii_end().ends_with(END_OF_PAGE));
        self.is_missing.store(is_missing, Ordering::Relaxed);
        Ok(())
    }
}
