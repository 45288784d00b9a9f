//! Conditions on the time of day.

use agent_primitives::{Timestamp, suggest};
use chrono::{DateTime, Datelike, Timelike, Utc, Weekday};
use chrono_tz::Tz;

use super::super::error::{Code, Report, quoted};
use super::super::fields::{self, Fields};
use super::super::guard::Truth;
use super::super::source::{Entry, Node, Tree};

/// Windows of which one must hold the time of the call.
#[derive(Debug)]
pub(in crate::policy) struct TimeGuard(Box<[Window]>);

/// One window, open at its end. One that ends before it begins ends on the next day.
#[derive(Debug)]
struct Window {
    zone: Tz,
    /// Those on which it begins, by number of days from Monday.
    days: [bool; 7],
    /// Minutes of the day.
    from: u32,
    to: u32,
}

pub(in crate::policy) const FIELDS: [&str; 4] = ["zone", "days", "from", "to"];
const DAY: u32 = 24 * 60;
pub(in crate::policy) const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];

/// The names of all time zones.
pub(in crate::policy) fn zones() -> impl Iterator<Item = &'static str> {
    chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())
}

impl TimeGuard {
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        node.refuse_ambiguous(report);
        let nodes = match &node.tree {
            Tree::List(_) => fields::some_list(node, "`time`", report)?,
            _ => std::slice::from_ref(node),
        };
        let windows: Vec<Option<Window>> = nodes.iter().map(|node| Window::parse(node, report)).collect();
        windows.into_iter().collect::<Option<Vec<_>>>().map(|windows| Self(windows.into()))
    }

    pub(super) fn judge(&self, now: Timestamp) -> Truth {
        match DateTime::<Utc>::from_timestamp_micros(now.as_micros()) {
            Some(now) => self.0.iter().any(|window| window.holds(now)).into(),
            None => Truth::Unknown,
        }
    }
}

impl Window {
    fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        let window = Fields::of(node, "`time`", &FIELDS, report)?;
        let (days, from, to) = (window.get("days"), window.get("from"), window.get("to"));
        if days.is_none() && from.is_none() && to.is_none() {
            let help = "name `days`, or `from` and `to`";
            report.add_help(Code::Empty, node.at, "`time` without days and hours is always", help);
            return None;
        }
        let zone = window.get("zone").map_or(Some(Tz::UTC), |entry| zone(&entry.value, report));
        let days = days.map_or(Some([true; 7]), |entry| self::days(&entry.value, report));
        let (from, to) = match (from, to) {
            (None, None) => (Some(0), Some(DAY)),
            (Some(from), Some(to)) => (minute(from, report), minute(to, report)),
            (Some(one), None) | (None, Some(one)) => {
                report.add(Code::Missing, one.at, "`from` and `to` go together");
                (None, None)
            }
        };
        let window = Self { zone: zone?, days: days?, from: from?, to: to? };
        if window.from == window.to || window.from == DAY {
            report.add(Code::BadOperand, node.at, "`to` is `from`: that is no time or all of it");
            return None;
        }
        Some(window)
    }

    fn holds(&self, now: DateTime<Utc>) -> bool {
        // From universal to local time there is exactly one answer, whatever the clocks there do.
        let local = now.with_timezone(&self.zone);
        let minute = local.hour() * 60 + local.minute();
        let on = |day: Weekday| {
            self.days.get(usize::try_from(day.num_days_from_monday()).unwrap_or(7)).copied().unwrap_or(false)
        };
        let (today, yesterday) = (on(local.weekday()), on(local.weekday().pred()));
        if self.from < self.to {
            today && (self.from..self.to).contains(&minute)
        } else {
            (today && self.from <= minute) || (yesterday && minute < self.to)
        }
    }
}

fn zone(node: &Node, report: &mut Report) -> Option<Tz> {
    let name = fields::text(node, "`zone`", report)?;
    if let Ok(zone) = name.parse::<Tz>() {
        return Some(zone);
    }
    let message = format!("unknown time zone {}", quoted(name));
    // No name of a zone is longer, and comparing costs the product of the lengths.
    // Nor is it worth anything for an error that is only counted.
    let worth = name.len() <= 40 && !report.is_full();
    let nearest = worth.then(|| suggest::nearest(name, zones())).flatten();
    let help = match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "zones have names like `Europe/Berlin`".to_owned(),
    };
    report.add_help(Code::UnknownWord, node.at, message, help);
    None
}

fn days(node: &Node, report: &mut Report) -> Option<[bool; 7]> {
    let nodes = fields::some_list(node, "`days`", report)?;
    let mut days = [false; 7];
    for node in nodes {
        let day = fields::word(node, "day", &DAYS, report)?;
        if let Some(day) = days.get_mut(usize::try_from(day.num_days_from_monday()).ok()?) {
            *day = true;
        }
    }
    Some(days)
}

/// `HH:MM`, from `00:00` to `24:00`.
fn minute(entry: &Entry, report: &mut Report) -> Option<u32> {
    let text = fields::text(&entry.value, "a time of day", report)?;
    let found = text.split_once(':').and_then(|(hours, minutes)| {
        let number = |text: &str| -> Option<u32> {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let minute = hours * 60 + minutes;
        (minutes < 60 && minute <= DAY).then_some(minute)
    });
    if found.is_none() {
        let message = format!("{} is not a time of day", quoted(text));
        report.add_help(
            Code::BadOperand,
            entry.value.at,
            message,
            "write it like `\"08:00\"`, up to `\"24:00\"`",
        );
    }
    found
}
