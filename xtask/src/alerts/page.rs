//! Checks the daemon's pages with Prometheus' own linter.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// The complaints of `promtool check metrics`, each once.
///
/// # Errors
///
/// There is no page, or promtool is missing.
pub fn faults(pages: &[String]) -> Result<Vec<String>> {
    ensure!(!pages.is_empty(), "the daemon's page was never read");
    let mut all = Vec::new();
    for page in pages {
        for said in check(page)? {
            if !all.contains(&said) {
                all.push(said);
            }
        }
    }
    Ok(all)
}

fn check(page: &str) -> Result<Vec<String>> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool")?;
    let mut stdin = promtool.stdin.take().context("promtool's stdin")?;
    // It prints nothing before it has read all.
    stdin.write_all(page.as_bytes()).context("promtool")?;
    drop(stdin);
    let output = promtool.wait_with_output().context("promtool")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let mut said: Vec<String> = said
        .lines()
        .map(|line| format!("promtool check metrics: {line}"))
        .collect();
    if said.is_empty() && !output.status.success() {
        said.push(format!("promtool check metrics: {}", output.status));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::faults;

    #[test]
    #[ignore = "needs promtool"]
    fn what_promtool_does_not_like_is_said_once() {
        let bad = "# TYPE wrong counter\nwrong 1\n".to_owned();
        let said = faults(&[bad.clone(), bad]).expect("promtool");
        assert!(said.iter().any(|line| line.contains("_total")), "{said:?}");
        let good = "# HELP right_total Right.\n# TYPE right_total counter\nright_total 1\n";
        assert_eq!(
            faults(&[good.to_owned()]).expect("promtool"),
            Vec::<String>::new()
        );
        assert!(faults(&[]).is_err());
    }
}
