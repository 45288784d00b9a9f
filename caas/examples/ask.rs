//! Asks a folder of documents: `cargo run -p caas-core --example ask -- FOLDER "how long is the refund window"`.
//!
//! Prints the context that a model would be shown, what each part of it is from, and where the documents disagree. Nothing is kept,
//! and no connection is opened.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows what it does")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use agent_primitives::SystemTimer;
use caas_core::assemble::{Origin, Why};
use caas_core::ingest::{Folder, Known, Limits, Parser};
use caas_core::pipeline::{Answered, FolderReport, Pipeline};
use caas_core::{Classification, Metadata, Source, SourceKind};

/// Most tokens of the context.
const BUDGET: usize = 800;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, question] = arguments.as_slice() else {
        eprintln!("usage: ask FOLDER QUESTION");
        return ExitCode::from(2);
    };
    match futures_executor::block_on(ask(Path::new(folder), question)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(path: &Path, question: &str) -> Result<(), Box<dyn Error>> {
    let timer = Arc::new(SystemTimer::new());
    let folder = Folder::open(path, Parser::new(Limits::DEFAULT)?, timer.clone())?;
    let pipeline = Pipeline::in_memory(timer)?;
    let metadata = |_: &_| Metadata::new(Source::of(SourceKind::Unknown), Classification::Internal);
    let progress = |progress: caas_core::ingest::Progress<'_>| {
        if progress.done.is_multiple_of(100) {
            eprintln!("{} of {}: {}", progress.done, progress.total, progress.next);
        }
        ControlFlow::Continue(())
    };
    let report = pipeline.follow(&folder, &mut Known::new(), metadata, progress).await;
    say_what_was_read(&report);
    show(&pipeline.ask(question, BUDGET).await?);
    Ok(())
}

fn say_what_was_read(report: &FolderReport) {
    eprintln!("{} documents, {} could not be read", report.indexed, report.failed.len());
    for failed in report.failed.iter().take(10) {
        eprintln!("  {}: {}", failed.path, failed.error);
    }
    if let Some(error) = &report.ended_by {
        eprintln!("the folder was not read to its end: {error}");
    }
}

fn show(answered: &Answered) {
    println!("{}", answered.context.text);
    println!("-- {} tokens", answered.context.tokens);
    for receipt in &answered.context.receipts {
        if let Origin::Chunk { document, version, path, .. } = &receipt.origin {
            let why = match &receipt.why {
                Why::Found(rank, scores) => format!("rank {rank}, score {:.3}", scores.total),
                why => format!("{why:?}"),
            };
            println!(
                "[{}] {document} > {} ({why}, version {:.8})",
                receipt.number,
                path.join(" > "),
                version
            );
        }
    }
    for conflict in &answered.conflicts.found {
        let (one, other) = (&conflict.one, &conflict.other);
        println!("disagreement about {}:", conflict.topic.join(" "));
        println!("  {}: {}\n  {}: {}", one.document, one.excerpt, other.document, other.excerpt);
    }
}
