//! What a tool's context knows of the call that it belongs to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::secrets::SecretSet;
use super::stage::{Stage, StageEvent, Trace};
use super::{CallChain, CallId, Invoker, OnBehalf};
use crate::{CallContext, ToolError};

/// How far a call has come.
#[derive(Debug)]
pub(crate) struct Progress {
    call: CallId,
    trace: Option<Arc<dyn Trace>>,
    isolated: AtomicBool,
}

impl Progress {
    pub(super) fn new(call: CallId, trace: Option<Arc<dyn Trace>>) -> Self {
        Self { call, trace, isolated: AtomicBool::new(false) }
    }

    /// What runs the tool is chosen. From here on the tool may have had effects.
    pub(crate) fn isolated(&self) {
        if !self.isolated.swap(true, Ordering::AcqRel) {
            self.tell(Stage::Isolate, None);
        }
    }

    pub(super) fn may_have_run(&self) -> bool {
        self.isolated.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self, stage: Stage, error: Option<&ToolError>) {
        if let Some(trace) = &self.trace {
            trace.stage(StageEvent { call: self.call, stage, error: error.map(ToolError::code) });
        }
    }
}

/// What the context of a tool carries when an invoker makes the call.
#[derive(Debug)]
pub(crate) struct Invoked {
    pub(super) invoker: Invoker,
    pub(super) chain: CallChain,
    pub(super) depth: u32,
    pub(super) call: CallId,
    pub(crate) secrets: Arc<SecretSet>,
    pub(crate) progress: Arc<Progress>,
}

impl Invoked {
    /// Makes calls within the one that `cx` belongs to.
    pub(crate) fn within(&self, cx: CallContext) -> OnBehalf {
        OnBehalf::within(
            self.invoker.clone(),
            self.chain.clone(),
            self.depth.saturating_add(1),
            self.call,
            cx,
        )
    }
}
