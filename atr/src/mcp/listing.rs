//! All tools that a server shows, or none of them.

use std::collections::BTreeSet;
use std::time::Duration;

use agent_primitives::Timer;

use super::connection::Connection;
use super::definition::Definition;
use super::error::Lost;

/// Most pages of one listing.
pub const MAX_PAGES: usize = 100;
/// Most tools of one server.
pub const MAX_SERVER_TOOLS: usize = 10_000;
/// Most bytes of all definitions of one server, as JSON.
pub const MAX_LISTING: usize = 16 << 20;
/// Longest cursor between two pages, in bytes.
const MAX_CURSOR: usize = 4096;

/// Reads every page, within the bounds and the time.
///
/// # Cancel safety
/// Dropping the future cancels the request that is under way.
pub(super) async fn read(
    connection: &Connection,
    within: Duration,
    timer: &dyn Timer,
) -> Result<Vec<Definition>, Lost> {
    let late = timer.sleep_until(timer.monotonic().after(within));
    tokio::select! {
        biased;
        listing = pages(connection) => listing,
        lost = connection.wire.failed() => Err(lost),
        () = late => Err(Lost::new("it did not list its tools in time")),
    }
}

async fn pages(connection: &Connection) -> Result<Vec<Definition>, Lost> {
    let mut tools = Vec::new();
    let mut cursors = BTreeSet::new();
    let (mut size, mut cursor) = (0, None);
    for _ in 0..MAX_PAGES {
        let page = connection.page(cursor).await?;
        if MAX_SERVER_TOOLS < tools.len() + page.tools.len() {
            return Err(Lost::new("it lists too many tools"));
        }
        for tool in page.tools {
            size += serde_json::to_vec(&tool).map_or(usize::MAX, |text| text.len()).min(MAX_LISTING + 1);
            if MAX_LISTING < size {
                return Err(Lost::new("its list of tools is too large"));
            }
            tools.push(Definition::of(tool));
        }
        match page.next_cursor {
            None => return Ok(tools),
            Some(next) if MAX_CURSOR < next.len() => {
                return Err(Lost::new("its list of tools has too long a cursor"));
            }
            Some(next) if !cursors.insert(next.clone()) => {
                return Err(Lost::new("its list of tools leads back to where it was"));
            }
            next => cursor = next,
        }
    }
    Err(Lost::new("its list of tools has too many pages"))
}
