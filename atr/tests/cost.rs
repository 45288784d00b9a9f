//! Declared costs, and what tools report to have used.

use std::sync::Arc;

use agent_primitives::resource::Currency;
use agent_primitives::{AgentId, ManualClock, Resource, ToolId};
use agent_tool_registry::{CallContext, MAX_RESOURCES, Meter, NotSpent, Registry, RegistryError};
use serde_json::{Value, json};

const USD: Resource = Resource::Money(Currency::USD);

fn register(costs: &[(Resource, u64)]) -> Result<Registry, RegistryError> {
    let mut registry = Registry::builder();
    let mut tool = registry.tool("t").description("A tool with a price");
    for (resource, at_most) in costs {
        tool = tool.cost(*resource, *at_most);
    }
    tool.run_raw(json!({"type": "object"}), |_: CallContext, _: Value| async { Ok(Value::Null) })?;
    Ok(registry.build())
}

#[test]
fn a_cost_is_part_of_the_contract_and_none_leaves_it_as_it_was() {
    let id: ToolId = "t".parse().unwrap();
    let digest = |costs| register(costs).unwrap().get(&id).unwrap().digest();
    let priced = register(&[(USD, 5), (Resource::Tokens, 7)]).unwrap();
    let contract = priced.get(&id).unwrap();
    assert_eq!(serde_json::to_value(&*contract).unwrap().get("cost"), Some(&json!({"USD": 5, "tokens": 7})));
    assert_ne!(digest(&[(USD, 5)]), digest(&[(USD, 6)]));
    let free = register(&[]).unwrap();
    assert_eq!(serde_json::to_value(&*free.get(&id).unwrap()).unwrap().get("cost"), None);
}

#[test]
fn what_the_kernel_measures_is_no_cost() {
    for measured in [Resource::Calls, Resource::Bytes, Resource::WallTime] {
        let refused = register(&[(measured, 1)]);
        assert!(matches!(refused, Err(RegistryError::SpecInvalid { .. })), "{refused:?}");
    }
}

#[test]
fn reports_add_up_saturate_and_are_bounded() {
    let meter = Meter::default();
    let agent: AgentId = "tester".parse().unwrap();
    let context = CallContext::new(agent, Arc::new(ManualClock::default())).with_meter(meter.clone());
    context.spend(USD, 3).unwrap();
    context.clone().spend(USD, 4).unwrap();
    assert_eq!((meter.reported(USD), meter.reported(Resource::Tokens)), (Some(7), None));
    context.spend(USD, u64::MAX).unwrap();
    assert_eq!(meter.reported(USD), Some(u64::MAX));
    assert_eq!(context.spend(Resource::Calls, 1), Err(NotSpent::Measured(Resource::Calls)));

    let other = |letter: char| Resource::Money(format!("XX{letter}").parse().unwrap());
    for letter in ('A'..).take(MAX_RESOURCES - 1) {
        context.spend(other(letter), 1).unwrap();
    }
    assert_eq!(context.spend(other('Z'), 1), Err(NotSpent::TooMany { limit: MAX_RESOURCES }));
    context.spend(other('A'), 1).unwrap();
    assert_eq!(meter.all().len(), MAX_RESOURCES);
}
