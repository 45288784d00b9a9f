//! One call on its way through the stages.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_primitives::id_source::uuid_v7;
use agent_primitives::{Monotonic, ToolId};

use super::access::{CallRequest, Decision, DenyReason};
use super::audit::{AuditRecord, CallId};
use super::breaker::Pass;
use super::invoker::{Host, OnAuditFailure};
use super::metrics::Outcome;
use super::on_behalf::{Answer, Call, MAX_CALL_DEPTH, OnBehalf};
use super::progress::{Invoked, Progress};
use super::quota::{Place, Reservation};
use super::secrets::SecretSet;
use super::stage::Stage;
use super::{CallChain, Caller};
use crate::context::Ran;
use crate::contract::Endpoint;
use crate::error::{ArgumentError, one_line};
use crate::snapshot::Tool;
use crate::{Arguments, CallContext, Invocation, Meter, Output, ToolContract, ToolError};

/// Longest name of a tool in a record, in characters.
const MAX_NAME: usize = 260;
/// Longest detail of an error in a record, in characters.
const MAX_DETAIL: usize = 1024;

/// A call under way. Dropped before it is settled, it is put on record as cancelled.
pub(super) struct Passage {
    host: Arc<Host>,
    on_behalf: OnBehalf,
    progress: Arc<Progress>,
    entered: Monotonic,
    /// The stage it is at.
    stage: Stage,
    /// Taken when it is settled.
    record: Option<Box<AuditRecord>>,
    tool: Option<ToolId>,
    warning: Option<String>,
    /// When the caller wanted it to end, whatever the tool's own limit.
    wanted_by: Option<Monotonic>,
    secrets: Arc<SecretSet>,
    meter: Meter,
    held: Held,
}

/// What a call holds while it is under way.
#[derive(Default)]
struct Held {
    /// Kept until the call is on record: until then it is under way.
    _place: Option<Place>,
    pass: Option<Pass>,
    reserved: Option<Reservation>,
}

impl Passage {
    pub(super) fn begin(on_behalf: &OnBehalf, call: &Call) -> Result<Self, ToolError> {
        let host = Arc::clone(&on_behalf.invoker.0);
        let now = host.timer.now();
        let id =
            uuid_v7(now, &*host.ids).map_err(|error| ToolError::AuditFailed { reason: error.to_string() })?;
        let id = CallId(id);
        let record = AuditRecord {
            call: id,
            parent: on_behalf.within.as_ref().map(|(parent, _)| *parent),
            chain: on_behalf.chain.callers().iter().map(|caller| caller.id().clone()).collect(),
            tool: one_line(&call.tool, MAX_NAME),
            version: None,
            digest: None,
            arguments: None,
            authorizer: host.authorizer.name().to_owned(),
            decision: None,
            ticket: None,
            level: None,
            guarantees: None,
            attempts: 0,
            started: now,
            stopped: now,
            took: std::time::Duration::ZERO,
            exit_code: None,
            usage: None,
            spent: BTreeMap::new(),
            result: None,
            failed_at: None,
            error: None,
            detail: None,
        };
        Ok(Self {
            entered: host.timer.monotonic(),
            progress: Arc::new(Progress::new(id, host.trace.clone())),
            on_behalf: on_behalf.clone(),
            host,
            stage: Stage::Resolve,
            record: Some(Box::new(record)),
            tool: None,
            warning: None,
            wanted_by: None,
            secrets: Arc::default(),
            meter: Meter::default(),
            held: Held::default(),
        })
    }

    /// Takes the call through all stages.
    pub(super) async fn carry_out(mut self, call: Call) -> Result<Answer, ToolError> {
        let mut ran = None;
        let result = self.through(&call, &mut ran).await;
        // What stands where a secret stood is less than twice as long as the shortest form of one.
        let most = result.as_ref().map_or(0, |output| output.canonical().len().saturating_mul(2));
        let result = self.secrets.clean_result(result, most);
        self.settle(result, ran).await
    }

    async fn through(&mut self, call: &Call, ran: &mut Option<Ran>) -> Result<Output, ToolError> {
        let host = Arc::clone(&self.host);
        let chain = self.on_behalf.chain.clone();

        self.stage = Stage::Resolve;
        let found = find(&host, call);
        if found.as_ref().is_err_and(is_of_state) {
            self.over(Ok(()))?;
            self.stage = Stage::State;
        }
        let tool = self.over(found)?;
        let contract = tool.contract();
        let id = contract.id().clone();
        self.tool = Some(id.clone());
        self.note(|record| {
            record.version = Some(contract.version().to_string());
            record.digest = Some(contract.digest());
        });

        self.stage = Stage::State;
        self.over(host.breakers.check(&id, host.timer.monotonic()))?;

        self.stage = Stage::Authorize;
        let decision = decide(&host, &chain, contract).await;
        self.note(|record| record.decision = Some(word(&decision)));
        let ask = decision == Decision::Ask;
        self.over(match decision {
            Decision::Deny(reason) => Err(ToolError::AccessDenied { reason }),
            Decision::Allow | Decision::Ask => Ok(()),
        })?;

        self.stage = Stage::Parse;
        let arguments = self.over(Arguments::parse(&call.arguments))?;
        self.note(|record| record.arguments = Some(arguments.digest()));

        self.stage = Stage::Validate;
        let invocation = self.over(fit(&tool, &arguments))?;

        self.stage = Stage::Quota;
        let quota = self.enter(&host, &chain, contract);
        self.over(quota)?;

        self.stage = Stage::Approval;
        if ask {
            let consent = match &host.approvals {
                Some(approvals) => approvals.require(call.ticket, &chain, contract, &arguments),
                None => Err(ToolError::ApprovalRequired { ticket: None }),
            };
            self.over(consent)?;
            self.note(|record| record.ticket = call.ticket);
        } else {
            self.over(Ok(()))?;
        }

        self.stage = Stage::Inject;
        let secrets = resolve(&host, &chain, contract).await;
        self.secrets = Arc::new(self.over(secrets)?);

        self.stage = Stage::Isolate;
        self.warning = invocation.warning();
        let outer = self.on_behalf.within.as_ref().and_then(|(_, cx)| cx.deadline());
        self.wanted_by = call.deadline.into_iter().chain(outer).min();
        let result = self.run(&host, &tool, invocation, ran).await;
        self.ran(result)
    }

    /// Takes a place among the calls under way, and what the call may cost.
    fn enter(&mut self, host: &Host, chain: &CallChain, contract: &ToolContract) -> Result<(), ToolError> {
        if MAX_CALL_DEPTH < self.on_behalf.depth {
            return Err(ToolError::RecursionLimit { limit: MAX_CALL_DEPTH });
        }
        let now = host.timer.monotonic();
        let pass = host.breakers.enter(contract.id(), now)?;
        let place = host.ledger.enter(chain)?;
        let reserved = host.ledger.reserve(chain, contract)?;
        // Last: what a rate has let through is spent.
        host.ledger.admit(chain, contract.id(), now)?;
        self.held = Held { _place: Some(place), pass: Some(pass), reserved: Some(reserved) };
        Ok(())
    }

    /// Runs the tool, again if it may be, all within its deadline.
    async fn run(
        &mut self,
        host: &Arc<Host>,
        tool: &Tool,
        mut invocation: Invocation,
        ran: &mut Option<Ran>,
    ) -> Result<Output, ToolError> {
        let contract = tool.contract();
        if !is_chosen_later(contract.endpoint()) {
            self.progress.isolated();
        }
        let arguments = invocation.arguments().clone();
        let ends = host.timer.monotonic().after(contract.limits().deadline);
        for made in 1.. {
            self.note(|record| record.attempts = made);
            let cx = self.context(host, ends)?;
            let result = invocation.run(cx.clone()).await;
            *ran = cx.ran();
            let Err(error) = result else { return result };
            if !contract.idempotent() || !error.retryable() {
                return Err(error);
            }
            let wait = host.retry.wait(made, &*host.ids);
            let again = wait.map(|wait| host.timer.monotonic().after(wait)).filter(|at| *at < ends);
            let Some(at) = again else { return Err(error) };
            host.timer.sleep_until(at).await;
            let Ok(next) = fit(tool, &arguments) else { return Err(error) };
            invocation = next;
        }
        Err(ToolError::Cancelled)
    }

    fn context(&self, host: &Arc<Host>, ends: Monotonic) -> Result<CallContext, ToolError> {
        let chain = &self.on_behalf.chain;
        let caller = chain.last().map(Caller::id).ok_or(ToolError::Cancelled)?;
        let invoked = Invoked {
            invoker: self.on_behalf.invoker.clone(),
            chain: chain.clone(),
            depth: self.on_behalf.depth,
            call: self.record.as_ref().map(|record| record.call).ok_or(ToolError::Cancelled)?,
            secrets: Arc::clone(&self.secrets),
            progress: Arc::clone(&self.progress),
        };
        let cx = CallContext::new(caller.clone(), Arc::clone(&host.timer))
            .with_meter(self.meter.clone())
            .with_invoked(Arc::new(invoked))
            .with_deadline(ends);
        let cx = self.wanted_by.into_iter().fold(cx, CallContext::with_deadline);
        let executions = self.on_behalf.executions.clone();
        Ok(executions.into_iter().fold(cx, CallContext::with_executions))
    }

    /// Says which of the last stages the call came to, and lets go of what it held.
    fn ran(&mut self, result: Result<Output, ToolError>) -> Result<Output, ToolError> {
        let error = result.as_ref().err();
        let isolated = self.progress.may_have_run();
        let began = isolated && !error.is_some_and(ToolError::is_without_effect);
        let failed_at = error.map(|error| match error {
            _ if !isolated => Stage::Isolate,
            ToolError::OutputTooLarge { .. } => Stage::Cap,
            ToolError::OutputInvalid { .. } => Stage::ValidateOutput,
            _ => Stage::Run,
        });
        if let Some(pass) = self.held.pass.take() {
            let now = self.host.timer.monotonic();
            match error {
                // Nothing is known of the tool then.
                Some(ToolError::Timeout) if self.wanted_by.is_some_and(|by| by <= now) => {}
                Some(ToolError::Cancelled | ToolError::Killed | ToolError::Stopped) => {}
                Some(error) if error.is_of_executor() => pass.ended(true, now),
                _ if !began => {}
                _ => pass.ended(false, now),
            }
        }
        if let Some(reserved) = self.held.reserved.take().filter(|_| began) {
            reserved.settle(&self.meter);
        }
        if !isolated {
            self.stage = Stage::Isolate;
            return self.over(result);
        }
        for stage in [Stage::Run, Stage::Cap, Stage::ValidateOutput] {
            self.stage = stage;
            if failed_at == Some(stage) {
                return self.over(result);
            }
            self.progress.tell(stage, None);
        }
        result
    }

    /// Says that the stage the call is at is over.
    fn over<T>(&mut self, result: Result<T, ToolError>) -> Result<T, ToolError> {
        self.progress.tell(self.stage, result.as_ref().err());
        result
    }

    fn note(&mut self, note: impl FnOnce(&mut AuditRecord)) {
        if let Some(record) = &mut self.record {
            note(record);
        }
    }

    /// Puts the call on record, and only then answers.
    async fn settle(
        mut self,
        result: Result<Output, ToolError>,
        ran: Option<Ran>,
    ) -> Result<Answer, ToolError> {
        self.note(|record| {
            record.level = ran.map(|ran| ran.level);
            record.guarantees = ran.map(|ran| ran.guarantees);
            record.usage = ran.map(|ran| ran.usage);
        });
        let (call, attempts) = match &self.record {
            Some(record) => (record.call, record.attempts),
            None => return Err(ToolError::Cancelled),
        };
        let Some(record) = self.complete(result.as_ref()) else { return Err(ToolError::Cancelled) };
        let kept = self.host.audit.record(record).await;
        let withheld = match (kept, self.host.on_audit_failure) {
            (Err(error), OnAuditFailure::Withhold) => Err(ToolError::AuditFailed { reason: error.reason }),
            _ => Ok(()),
        };
        self.stage = Stage::Settle;
        self.over(withheld)?;
        let warning = self.warning.take();
        result.map(|output| Answer { call, output, attempts, ran, warning })
    }

    /// The finished record, once.
    fn complete(&mut self, result: Result<&Output, &ToolError>) -> Option<AuditRecord> {
        let mut record = *self.record.take()?;
        record.stopped = self.host.timer.now();
        record.took = self.host.timer.monotonic().since(self.entered);
        record.spent = self.meter.all().into_iter().collect();
        record.result = result.ok().map(Output::digest);
        if let Err(error) = result {
            record.failed_at = Some(self.stage);
            record.error = Some(error.code());
            record.detail = error.host_detail().map(|detail| one_line(detail, MAX_DETAIL));
            if let ToolError::ExitCode { code, .. } = error {
                record.exit_code = Some(*code);
            }
        }
        if let Some(tool) = &self.tool {
            let outcome = match result {
                Ok(_) => Outcome::Answered,
                Err(_) if self.progress.may_have_run() => Outcome::Failed,
                Err(_) => Outcome::Refused,
            };
            self.host.metrics.record(tool, outcome, record.took);
        }
        Some(record)
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let began = self.progress.may_have_run();
        if let Some(reserved) = self.held.reserved.take().filter(|_| began) {
            reserved.settle(&self.meter);
        }
        if self.stage == Stage::Isolate && began {
            self.stage = Stage::Run;
        }
        if let Some(record) = self.complete(Err(&ToolError::Cancelled)) {
            // The sink has taken the record; nobody is left to be told whether it is kept.
            drop(self.host.audit.record(record));
            self.progress.tell(Stage::Settle, None);
        }
    }
}

fn find(host: &Host, call: &Call) -> Result<Tool, ToolError> {
    let id: ToolId = call.tool.parse().map_err(|source| ToolError::NameInvalid { source })?;
    let found = match &call.version {
        Some(wanted) => host.registry.find(&id, wanted),
        None => host.registry.resolve(&id),
    };
    found.map_err(|error| match error {
        // No name is suggested: it could be one of a tool that the caller is not to know of.
        ToolError::NotFound { id, .. } => ToolError::NotFound { id, suggestion: None },
        other => other,
    })
}

/// Whether the tool was found, and is in no state to be called.
fn is_of_state(error: &ToolError) -> bool {
    matches!(
        error,
        ToolError::Proposed { .. }
            | ToolError::Quarantined { .. }
            | ToolError::NameConfusable { .. }
            | ToolError::Revoked { .. }
            | ToolError::DefinitionChanged { .. }
    )
}

/// The strictest decision on any principal of the chain.
async fn decide(host: &Host, chain: &CallChain, contract: &ToolContract) -> Decision {
    let mut strictest = None;
    for caller in chain.callers() {
        let decision = host.authorizer.decide(CallRequest { caller, chain, contract }).await;
        strictest = strictest.max(Some(decision));
        if matches!(strictest, Some(Decision::Deny(_))) {
            break;
        }
    }
    strictest.unwrap_or(Decision::Deny(DenyReason::NotAllowed))
}

/// Checks the arguments against the tool that was decided on.
fn fit(tool: &Tool, arguments: &Arguments) -> Result<Invocation, ToolError> {
    let named = |name: &&String| arguments.value().get(name.as_str()).is_some();
    if let Some(name) = tool.contract().secrets().iter().find(named) {
        let error =
            ArgumentError::new(format_args!("/{name}"), "secret", "it is no argument: the host gives it");
        return Err(ToolError::ArgsInvalid { errors: vec![error] });
    }
    tool.prepare(arguments.clone())
}

async fn resolve(host: &Host, chain: &CallChain, contract: &ToolContract) -> Result<SecretSet, ToolError> {
    let mut secrets = BTreeMap::new();
    for name in contract.secrets() {
        let secret = match &host.secrets {
            Some(source) => source.resolve(name, chain).await,
            None => None,
        };
        let secret = secret.ok_or_else(|| ToolError::SecretUnavailable { name: name.clone() })?;
        secrets.insert(name.clone(), secret);
    }
    SecretSet::new(secrets)
}

/// Whether what runs the tool is chosen only once its call has begun.
fn is_chosen_later(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Process(_) | Endpoint::Wasm(_) | Endpoint::Container(_) | Endpoint::Programs(_)
    )
}

fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Ask => "ask",
        Decision::Deny(_) => "deny",
    }
}
