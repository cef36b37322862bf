//! Writes the report of a drill that never was: `cargo run -p drill --example sample -- DIRECTORY`. For whoever changes the
//! page.

use clap::ValueEnum;

fn main() -> std::io::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let name = std::env::args().nth(2).and_then(|n| drill::Name::from_str(&n, true).ok());
    let report = drill::model::sample(name.unwrap_or(drill::Name::RegionFailure), 7);
    report.write(std::path::Path::new(&directory))?;
    print!("{}", report.text());
    Ok(())
}
