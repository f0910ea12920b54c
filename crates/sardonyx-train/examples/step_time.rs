//! Times training steps of a zoo model: `step_time NAME BATCH THREADS [adam|sgd]`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::sync::Arc;
use std::time::Instant;

use sardonyx_tensor::Philox;
use sardonyx_train::{Adam, Batch, OptimizerConfig, Pool, Sgd, StepOptions, TrainState};
use sardonyx_zoo::Seed;
use sardonyx_zoo::zoo::Options;

fn now_ns() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let (name, batch_len, threads) = (&args[1], args[2].parse()?, args[3].parse()?);
    let model = sardonyx_zoo::zoo::find(name)?.build(&Options::default(), Seed(0))?;
    let fact = model.fact(model.inputs[0]).ok_or("no input")?;
    let sample: usize = fact.shape.as_ref().ok_or("no shape")?[1..]
        .iter()
        .filter_map(|d| d.value())
        .product();
    let optimizer = match args.get(4).map(String::as_str) {
        Some("sgd") => OptimizerConfig::Sgd(Sgd {
            momentum: 0.9,
            lr: 0.01,
            ..Sgd::default()
        }),
        _ => OptimizerConfig::Adam(Adam::default()),
    };
    let pool = Arc::new(Pool::new(threads)?);
    let options = StepOptions {
        optimizer,
        ..StepOptions::new(pool)
    };
    let start = Instant::now();
    let mut state = TrainState::compile(&model, batch_len, options)?;
    println!("compiled in {:?}", start.elapsed());
    let mut rng = Philox::new(0, 0);
    let samples: Vec<f32> = (0..batch_len * sample)
        .map(|_| rng.normal() as f32)
        .collect();
    let labels: Vec<i64> = (0..batch_len).map(|_| rng.below(10) as i64).collect();
    let batch = Batch {
        samples: &samples,
        labels: &labels,
    };
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 12 || (begin.elapsed().as_secs_f64() < 4.0 && times.len() < 300) {
        let start = Instant::now();
        state.step(&batch)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.drain(..2);
    times.sort_by(f64::total_cmp);
    let flops = state.flops() as f64;
    let (median, min) = (times[times.len() / 2], times[0]);
    println!(
        "{name} b{batch_len} t{threads}: median {median:.3} ms min {min:.3} ms {:.1} GFLOP/s",
        flops / median / 1e6
    );
    println!(
        "memory {:?} host {:?}",
        state.memory_bytes(),
        state.host_operators()
    );
    let mut costs = state.profile(20, now_ns);
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.nanoseconds));
    for cost in costs.iter().take(25) {
        println!(
            "{:9.1} us  {:7.1} GFLOP/s  {:24} {}",
            cost.nanoseconds as f64 / 1e3,
            cost.flops as f64 / cost.nanoseconds as f64,
            cost.kernel,
            cost.node
        );
    }
    Ok(())
}
