//! What a model file costs to load, to plan and to run: `infer_time FILE BATCH THREADS [SECONDS]`.
//! Prints the phases up to the first prediction, the median and least time of a run and, with
//! `SARDONYX_PROFILE` set, the dearest calls. `SARDONYX_INPUT` and `SARDONYX_OUTPUT` name files of
//! raw little-endian floats: where the input comes from and the first output goes to, so that
//! another runtime can be compared.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sardonyx_engine::{Executable, Pool, Session, SessionOptions};
use sardonyx_tensor::Tensor;

fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn milliseconds(since: u64) -> f64 {
    (clock() - since) as f64 / 1e6
}

fn input(session: &Session, batch: usize) -> Result<Tensor, Box<dyn Error>> {
    let graph = session.graph();
    let fact = graph.fact(graph.inputs[0]).ok_or("the input has no type")?;
    let dims = fact.shape.as_ref().ok_or("the input has no rank")?;
    let shape: Vec<usize> = dims
        .iter()
        .map(|dim| dim.value().unwrap_or(batch))
        .collect();
    let len: usize = shape.iter().product();
    let values = match std::env::var_os("SARDONYX_INPUT") {
        Some(path) => floats(&std::fs::read(path)?),
        None => (0..len)
            .map(|index| ((index * 7919) % 2003) as f32 / 1001.5 - 1.0)
            .collect(),
    };
    Ok(Tensor::new(shape, values)?)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.chunks_exact(4);
    words
        .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect()
}

fn print_profile(executable: &mut Executable) {
    let mut costs = executable.profile(20, clock);
    let total: u64 = costs.iter().map(|cost| cost.nanoseconds).sum();
    println!("profile: {:.3} ms of all threads", total as f64 / 1e6);
    let mut kernels: BTreeMap<(&str, &str), (u64, usize)> = BTreeMap::new();
    for cost in &costs {
        let sum = kernels.entry((cost.kernel, &cost.op)).or_default();
        *sum = (sum.0 + cost.nanoseconds, sum.1 + 1);
    }
    for ((kernel, op), (time, count)) in kernels {
        println!("  {:9.1} us {count:4} x {kernel} ({op})", time as f64 / 1e3);
    }
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.nanoseconds));
    for cost in costs.iter().take(24) {
        let time = cost.nanoseconds as f64;
        println!(
            "  {:9.1} us {:6.1} GFLOP/s {:6.1} GB/s {:14} {:18} {}",
            time / 1e3,
            cost.flops as f64 / time,
            cost.bytes as f64 / time,
            cost.kernel,
            cost.op,
            cost.node
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    sardonyx_kernels::prepare_heap();
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, batch, threads, rest @ ..] = &arguments[..] else {
        return Err("usage: infer_time FILE BATCH THREADS [SECONDS]".into());
    };
    let seconds: f64 = rest.first().map_or(Ok(2.0), |text| text.parse())?;
    let start = clock();
    let graph = sardonyx_model::load(Path::new(file))?;
    let loaded = milliseconds(start);
    let pool = Arc::new(Pool::new(threads.parse()?)?);
    let mut session = Session::new(graph, SessionOptions::new(pool))?;
    let opened = milliseconds(start);
    let input = input(&session, batch.parse()?)?;
    let executable = session
        .executable(std::slice::from_ref(&input))?
        .ok_or("the model's shapes depend on its data")?;
    let planned = milliseconds(start);
    executable.set_input(0, &input)?;
    executable.run();
    let first = milliseconds(start);
    println!("load {loaded:.1} open {opened:.1} plan {planned:.1} first {first:.1} ms");
    println!("host operators {:?}", executable.host_operators());
    println!("bytes {:?}", executable.memory_bytes());
    let mut times = Vec::new();
    let begin = clock();
    while milliseconds(begin) < seconds * 1e3 || times.len() < 5 {
        let start = clock();
        executable.set_input(0, &input)?;
        executable.run();
        std::hint::black_box(executable.output_slice::<f32>(0));
        times.push(milliseconds(start));
    }
    times.sort_by(f64::total_cmp);
    let (median, least) = (times[times.len() / 2], times[0]);
    let rate = executable.flops() as f64 / least / 1e6;
    println!("median {median:.4} min {least:.4} ms, {rate:.1} GFLOP/s at best");
    if let Some(path) = std::env::var_os("SARDONYX_OUTPUT") {
        let values = executable.output_slice::<f32>(0);
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        std::fs::write(path, bytes)?;
    }
    if std::env::var_os("SARDONYX_PROFILE").is_some() {
        print_profile(executable);
    }
    Ok(())
}
