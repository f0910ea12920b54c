//! Measures the kernels whose speed is that of memory: how many bytes of operands they pass over
//! in a second, beside a plain copy of as many.
//!
//! `cargo run --release -p sardonyx-kernels --example membench [-- filter [threads [isa]]]` prints,
//! for every case whose name contains `filter`, the shortest of many runs.
#![expect(clippy::print_stdout, reason = "the output of a benchmark")]

use std::sync::Arc;
use std::time::Instant;

use sardonyx_kernels::{
    Arena, ArenaLengths, AxisShape, BatchGradSums, BatchMoments, BatchShape, Call, Cast, Chain,
    Concat, CrossEntropy, CrossEntropyOptions, DType, Dropout, DropoutOptions, Elementwise,
    ElementwiseProgram, ElementwiseShape, EpsilonPlace, Gate, GatherGrad, Isa, Kernel, LayerNorm,
    LayerNormGrad, LayerNormOptions, Machine, Op, Optimizer, Permute, Pool, Program, Reduce,
    Reduction, Region, Result, Rule, Softmax, Space, Stage, View,
};

/// Shortest time that a case is measured for, in seconds.
const SECONDS_PER_CASE: f64 = 0.2;

struct Case {
    name: String,
    kernel: Arc<dyn Kernel>,
}

fn case(name: &str, kernel: impl Kernel + 'static) -> Case {
    Case {
        name: name.to_owned(),
        kernel: Arc::new(kernel),
    }
}

/// `steps` applied one after the other to the first input, with the others as further arguments.
fn elementwise(
    isa: Isa,
    dims: &[usize],
    inputs: &[&[usize]],
    steps: &[(Op, &[usize])],
) -> Result<Elementwise> {
    let mut program = ElementwiseProgram::new();
    let mut views = Vec::new();
    let mut registers = Vec::new();
    for input in inputs {
        views.push(View::broadcast(input, dims)?);
        registers.push(program.input(DType::F32)?);
    }
    let mut made = registers[0];
    for (op, others) in steps {
        let mut args = vec![made];
        args.extend(others.iter().map(|input| registers[*input]));
        made = program.push(*op, &args)?;
    }
    program.output(made, DType::F32)?;
    let shape = ElementwiseShape {
        dims: dims.to_vec(),
        inputs: views,
        item_len: None,
    };
    Elementwise::new(isa, &program, &shape)
}

fn maps(isa: Isa) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for len in [1 << 14, 1 << 18, 1 << 24] {
        let full = &[len][..];
        let mut add = |name: &str, inputs: &[&[usize]], steps: &[(Op, &[usize])]| {
            let name = format!("{name} {len}");
            elementwise(isa, full, inputs, steps).map(|kernel| cases.push(case(&name, kernel)))
        };
        add("add", &[full, full], &[(Op::Add, &[1])])?;
        add("relu", &[full], &[(Op::Relu, &[])])?;
        add("relu_grad", &[full, full], &[(Op::ReluGrad, &[1])])?;
        add(
            "mul add relu",
            &[full, full, full],
            &[(Op::MulAdd, &[1, 2]), (Op::Relu, &[])],
        )?;
        for op in [
            Op::Exp,
            Op::Tanh,
            Op::Sigmoid,
            Op::Gelu,
            Op::GeluGrad,
            Op::Log,
            Op::Sqrt,
        ] {
            let others: &[usize] = if op.arity() == 2 { &[1] } else { &[] };
            add(
                &format!("{op:?}"),
                &[full, full][..op.arity()],
                &[(op, others)],
            )?;
        }
    }
    for dims in [[100_352, 32], [25_088, 128], [64, 50_176]] {
        let steps: [(Op, &[usize]); 3] = [(Op::Sub, &[1]), (Op::MulAdd, &[2, 3]), (Op::Relu, &[])];
        let channel = &dims[1..];
        let inputs: [&[usize]; 4] = [&dims, channel, channel, channel];
        let name = format!("normalise {dims:?}");
        cases.push(case(&name, elementwise(isa, &dims, &inputs, &steps)?));
    }
    Ok(cases)
}

fn reductions(isa: Isa) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for [outer, len, inner] in [
        [1, 1 << 22, 1],
        [100_352, 32, 1],
        [1, 100_352, 32],
        [8, 3136, 256],
    ] {
        let shape = AxisShape { outer, len, inner };
        let name = format!("sum {outer}x{len}x{inner}");
        match Reduce::in_two(isa, Reduction::Sum, shape) {
            Some([first, _]) => cases.push(case(&name, first)),
            None => cases.push(case(&name, Reduce::new(isa, Reduction::Sum, shape))),
        }
    }
    for (rows, channels) in [(100_352, 32), (25_088, 128), (3136, 512)] {
        let shape = BatchShape { rows, channels };
        cases.push(case(
            &format!("moments {rows}x{channels}"),
            BatchMoments::new(isa, shape),
        ));
        cases.push(case(
            &format!("grad sums {rows}x{channels}"),
            BatchGradSums::new(isa, shape, Gate::RELU),
        ));
    }
    for (rows, len) in [(128, 10), (8192, 768), (100_000, 64)] {
        let shape = AxisShape {
            outer: rows,
            len,
            inner: 1,
        };
        cases.push(case(
            &format!("softmax {rows}x{len}"),
            Softmax::new(isa, shape),
        ));
        let options = CrossEntropyOptions {
            label_dtype: DType::I64,
            ignore_index: None,
            scale_per_line: false,
        };
        let entropy = CrossEntropy::new(isa, shape, options)?;
        cases.push(case(&format!("cross entropy {rows}x{len}"), entropy));
        let options = LayerNormOptions {
            rows,
            len,
            epsilon: 1e-5,
            centred: true,
        };
        cases.push(case(
            &format!("layer norm {rows}x{len}"),
            LayerNorm::new(isa, options),
        ));
        cases.push(case(
            &format!("layer norm grad {rows}x{len}"),
            LayerNormGrad::new(isa, options),
        ));
    }
    Ok(cases)
}

fn others(isa: Isa) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let rules = [
        ("sgd", Rule::Sgd),
        (
            "momentum",
            Rule::Momentum {
                nesterov: false,
                scaled_velocity: false,
            },
        ),
        (
            "adamw",
            Rule::Adam {
                decoupled: true,
                amsgrad: false,
                epsilon: EpsilonPlace::OutsideRoot,
            },
        ),
    ];
    for len in [1 << 16, 1 << 22] {
        for (name, rule) in rules {
            cases.push(case(
                &format!("{name} {len}"),
                Optimizer::new(isa, rule, len),
            ));
        }
        let options = DropoutOptions {
            seed: 1,
            stream: 2,
            ratio: 0.5,
        };
        cases.push(case(
            &format!("dropout {len}"),
            Dropout::new(isa, options, len),
        ));
        cases.push(case(
            &format!("copy {len}"),
            Concat::new(DType::F32, 1, &[len])?,
        ));
        cases.push(case(
            &format!("cast u8 f32 {len}"),
            Cast::new(DType::U8, DType::F32, len)?,
        ));
    }
    let permutations: [(&[usize], &[usize]); 5] = [
        (&[2048, 2048], &[1, 0]),
        (&[32, 64, 56, 56], &[0, 2, 3, 1]),
        (&[32, 56, 56, 64], &[0, 3, 1, 2]),
        (&[128, 3, 224, 224], &[0, 2, 3, 1]),
        (&[32, 128, 12, 64], &[0, 2, 1, 3]),
    ];
    for (dims, axes) in permutations {
        let kernel = Permute::new(DType::F32, dims, axes)?;
        cases.push(case(&format!("permute {dims:?} {axes:?}"), kernel));
    }
    let shape = AxisShape {
        outer: 1,
        len: 30_000,
        inner: 64,
    };
    let kernel = GatherGrad::new(isa, shape, DType::I64, 4096)?;
    cases.push(case("gather grad 30000x64 of 4096", kernel));
    Ok(cases)
}

/// A machine that runs `kernel` alone, with operands full of small numbers.
fn machine(kernel: Arc<dyn Kernel>, pool: Arc<Pool>) -> Result<(Machine, usize)> {
    let (mut len, mut bytes) = (0, 0);
    let mut zeroed = Vec::new();
    let operands = kernel
        .operands()
        .iter()
        .map(|spec| {
            let size = spec.len * spec.dtype.size_bytes().unwrap_or(1);
            let region = Region {
                space: Space::Work,
                offset: len,
                len: size,
            };
            let wanted = !spec.optional || spec.name == "loss" || spec.name == "gradient";
            if wanted {
                len = region.end().next_multiple_of(64);
                bytes += size;
            }
            if wanted && spec.dtype != DType::F32 {
                zeroed.push(region);
            }
            wanted.then_some(region)
        })
        .collect();
    let calls = vec![Call { kernel, operands }];
    let stage = Stage {
        chains: vec![Chain { calls }],
    };
    let lengths = ArenaLengths {
        work: len,
        ..Default::default()
    };
    let program = Arc::new(Program::new(vec![stage], lengths)?);
    let mut work = Arena::zeroed(len);
    let all = Region {
        space: Space::Work,
        offset: 0,
        len,
    };
    for (index, value) in work.f32s_mut(all).iter_mut().enumerate() {
        *value = (index * 7919 % 101) as f32 * 0.01 + 0.1;
    }
    for region in zeroed {
        work.bytes_mut()[region.offset..region.end()].fill(0);
    }
    let empty = || Arena::zeroed(0);
    Ok((
        Machine::new(program, Arc::new(empty()), empty(), work, pool)?,
        bytes,
    ))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark needs a clock")]
fn seconds(machine: &mut Machine) -> f64 {
    let start = Instant::now();
    machine.run();
    start.elapsed().as_secs_f64()
}

fn measure(case: &Case, pool: &Arc<Pool>) -> Result<()> {
    let (mut machine, bytes) = machine(Arc::clone(&case.kernel), Arc::clone(pool))?;
    let (mut best, mut spent) = (f64::MAX, 0.0);
    while spent < SECONDS_PER_CASE {
        let time = seconds(&mut machine);
        best = best.min(time);
        spent += time;
    }
    let rate = bytes as f64 / best / 1e9;
    println!("{:<48} {:>10.1} us {rate:>8.1} GB/s", case.name, best * 1e6);
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.next().unwrap_or_default();
    let threads = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let wanted = arguments.next();
    let all = Isa::available();
    let isa = all.iter().find(|isa| wanted.as_deref() == Some(isa.name()));
    let isa = isa.copied().unwrap_or(Isa::detect());
    let pool = Arc::new(Pool::new(threads)?);
    println!("{isa}, {threads} threads");
    for cases in [maps(isa)?, reductions(isa)?, others(isa)?] {
        for case in cases.iter().filter(|case| case.name.contains(&filter)) {
            measure(case, &pool)?;
        }
    }
    Ok(())
}
