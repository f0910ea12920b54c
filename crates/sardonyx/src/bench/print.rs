//! The report for people to read.

use super::{BenchReport, NodeTime};
use crate::text::{Facts, Table, bytes, count, list};

impl BenchReport {
    /// A table of the costliest nodes, and what there is to say of the whole.
    pub fn to_text(&self) -> String {
        let mut facts = Facts::new();
        facts.row("model", self.model.display());
        let s = if self.threads == 1 { "" } else { "s" };
        let how = format!("{}, {} thread{s}", self.isa, self.threads);
        let task = match self.task {
            "train" => "training steps",
            _ => "predictions",
        };
        facts.row(
            "measured",
            format!("{} {task}, {how}", count(self.n_runs as u64)),
        );
        let sizes = self.dims.iter().filter(|(_, size)| **size != self.batch);
        let sizes = list(sizes, |(name, size)| format!(", {name} = {size}"));
        facts.row("batch", format!("{}{sizes}", self.batch));
        let (median, min) = (time(self.median_ms), time(self.min_ms));
        facts.row("time", format!("{median} ms median, {min} ms least"));
        let speed = rate(self.samples_per_second);
        facts.row("speed", format!("{speed} samples/s"));
        facts.row("arithmetic", self.arithmetic());
        let moved = self.bytes_moved.map(|moved| {
            let speed = moved as f64 / self.median_ms / 1e6;
            format!("{} a run, {speed:.1} GB/s", bytes(moved))
        });
        facts.row("traffic", moved.unwrap_or_default());
        let busy = self.busy_share.map(|busy| format!("{:.0} %", 100.0 * busy));
        facts.row("threads busy", busy.unwrap_or_default());
        let planned = self.peak_bytes.map(|all| format!("{} planned", bytes(all)));
        let process = self.max_rss.map(|all| format!("{} process", bytes(all)));
        let memory = [planned, process].into_iter().flatten();
        facts.row("memory", list(memory, |text| text));
        let (load, plan, first) = (time(self.load_ms), time(self.plan_ms), time(self.first_ms));
        facts.row(
            "start",
            format!("{load} ms to load, {plan} ms to plan, {first} ms to the first"),
        );
        facts.row(
            "no kernel",
            list(&self.host_operators, |(op, n)| format!("{op} x{n}")),
        );
        match table(&self.nodes) {
            table if table.is_empty() => facts.text(),
            table => format!("{table}\n{}", facts.text()),
        }
    }

    fn arithmetic(&self) -> String {
        let Some((flops, gflops)) = self.flops.zip(self.gflops) else {
            return String::new();
        };
        let peak = self.peak_share.zip(self.peak_gflops);
        let peak = peak.map_or(String::new(), |(share, peak)| {
            format!(", {:.0} % of this machine's {peak:.0}", 100.0 * share)
        });
        format!("{} FLOPs a run, {gflops:.1} GFLOP/s{peak}", count(flops))
    }
}

/// The costliest nodes; empty when there are none.
fn table(nodes: &[NodeTime]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let columns = [
        "node", "operator", "kernels", ">ms", ">share", ">GFLOP/s", ">bytes",
    ];
    let mut table = Table::new(&columns);
    for node in nodes {
        table.row([
            &node.name,
            &node.op,
            &node.kernels.join(" "),
            &time(node.ms),
            &format!("{:.1} %", 100.0 * node.share),
            &format!("{:.1}", node.gflops),
            &bytes(node.bytes),
        ]);
    }
    table.text()
}

/// Milliseconds with three digits that count, or all of whole ones.
pub(crate) fn time(ms: f64) -> String {
    match ms {
        ms if ms >= 99.95 => format!("{ms:.0}"),
        ms if ms >= 9.995 => format!("{ms:.1}"),
        ms if ms >= 0.9995 => format!("{ms:.2}"),
        ms => format!("{ms:.3}"),
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 100.0 => count(rate.round() as u64),
        rate => format!("{rate:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_three_digits() {
        let shown = [0.01234, 0.9996, 9.994, 9.996, 99.94, 99.96, 1234.5].map(time);
        assert_eq!(
            shown,
            ["0.012", "1.00", "9.99", "10.0", "99.9", "100", "1234"]
        );
    }
}
