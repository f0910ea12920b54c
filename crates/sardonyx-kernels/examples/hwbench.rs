//! Measures the kernels against the multiply-add peak of the processor they run on.
//!
//! `cargo run --release -p sardonyx-kernels --example hwbench [-- filter [threads [isa]]]` prints, for
//! every case whose name contains `filter`, the shortest of many runs, and its share of the peak
//! that was measured in between.
#![expect(clippy::print_stdout, reason = "the output of a benchmark")]

use std::sync::Arc;
use std::time::Instant;

use sardonyx_kernels::{
    Activation, Arena, ArenaLengths, Call, Chain, Conv2d, Conv2dInputGradient,
    Conv2dWeightGradient, ConvOptions, ConvShape, DepthwiseConv, FmaProbe, Gemm, GemmOptions,
    GemmShape, GemmTn, GemmTnShape, InputGradientOptions, Isa, Kernel, Machine, Pool, Program,
    RecurrentCell, Region, Result, Sequence, SequenceGradient, SequenceShape, Space, Stage,
    TransposePanels, WeightGradientOptions, WindowShape,
};

/// Shortest time that a case is measured for, in seconds.
const SECONDS_PER_CASE: f64 = 0.25;

struct Case {
    name: String,
    kernel: Arc<dyn Kernel>,
    /// Whether it gets the operands that it can do without.
    has_all_operands: bool,
}

impl Case {
    fn new(name: String, kernel: Arc<dyn Kernel>) -> Case {
        Case {
            name,
            kernel,
            has_all_operands: false,
        }
    }
}

fn gemm(isa: Isa, m: usize, n: usize, k: usize) -> Result<Case> {
    let kernel = Gemm::new(isa, GemmShape::dense(m, n, k), GemmOptions::default())?;
    Ok(Case::new(format!("gemm {m}x{k}x{n}"), Arc::new(kernel)))
}

fn gemm_tn(isa: Isa, m: usize, k: usize, n: usize) -> Result<Case> {
    let kernel = GemmTn::new(isa, GemmTnShape::dense(m, k, n), 0, false)?;
    Ok(Case::new(format!("gemm_tn {m}x{k}x{n}"), Arc::new(kernel)))
}

/// The four kernels of a convolution's life: forward, input gradient, weight gradient and the
/// transposition of its weights.
fn convolution(isa: Isa, shape: ConvShape, pool: Option<[usize; 2]>) -> Result<Vec<Case>> {
    let [kernel_h, kernel_w] = shape.kernel;
    let name = format!(
        "{kernel_h}x{kernel_w} {}->{} {}x{} bs{}",
        shape.in_channels, shape.out_channels, shape.height, shape.width, shape.batch
    );
    let case = |kind: &str, kernel| Case::new(format!("{name} {kind}"), kernel);
    let options = ConvOptions {
        pool,
        activation: Activation::Relu,
        ..Default::default()
    };
    let gradient = InputGradientOptions {
        unpool: pool,
        ..Default::default()
    };
    let weights = WeightGradientOptions {
        unpool: pool,
        ..Default::default()
    };
    let transpose = TransposePanels::new(isa, shape.weights());
    Ok(vec![
        case("forward", Arc::new(Conv2d::new(isa, shape, options)?)),
        case(
            "input grad",
            Arc::new(Conv2dInputGradient::new(isa, shape, gradient)?),
        ),
        case(
            "weight grad",
            Arc::new(Conv2dWeightGradient::new(isa, shape, weights)?),
        ),
        case("transpose", Arc::new(transpose)),
    ])
}

/// Depthwise 3 x 3 of images, one output for each pixel and for every other row and column.
fn depthwise(isa: Isa, image: [usize; 4]) -> Result<Vec<Case>> {
    let [batch, height, width, channels] = image;
    let case = |stride: usize| {
        let shape = WindowShape {
            stride: [stride; 2],
            pads: [1; 4],
            out: [height.div_ceil(stride), width.div_ceil(stride)],
            ..WindowShape::plain(image, [3, 3])
        };
        let kernel = DepthwiseConv::new(isa, shape, Activation::Relu, None)?;
        let name = format!("depthwise {channels} {height}x{width} bs{batch} by {stride}");
        Ok(Case::new(name, Arc::new(kernel)))
    };
    [1, 2].into_iter().map(case).collect()
}

/// The steps of a recurrent layer, and the way back through them.
fn recurrent(isa: Isa, cell: RecurrentCell, [time, batch, hidden]: [usize; 3]) -> [Case; 2] {
    let shape = SequenceShape {
        cell,
        time,
        batch,
        hidden,
        reverse: false,
        batch_first: false,
    };
    let case = |kind: &str, kernel| Case {
        has_all_operands: true,
        ..Case::new(
            format!("{cell:?} {time}x{batch} of {hidden} {kind}"),
            kernel,
        )
    };
    [
        case("forward", Arc::new(Sequence::new(isa, shape))),
        case("gradient", Arc::new(SequenceGradient::new(isa, shape))),
    ]
}

fn cases(isa: Isa) -> Result<Vec<Case>> {
    let same = |batch, side, channels: usize, out| ConvShape {
        pads: [1; 4],
        ..ConvShape::plain([batch, side, side, channels], out, [3, 3])
    };
    let half = |shape: ConvShape| ConvShape {
        stride: [2, 2],
        ..shape
    };
    let point = |batch, side, channels: usize, out| {
        ConvShape::plain([batch, side, side, channels], out, [1, 1])
    };
    let convolutions = [
        (same(2, 32, 64, 64), None),
        (same(16, 32, 64, 64), None),
        (same(16, 16, 128, 128), None),
        (same(16, 8, 256, 256), None),
        (same(16, 4, 512, 512), None),
        (half(same(16, 32, 64, 128)), None),
        (point(8, 112, 16, 96), None),
        (point(8, 112, 32, 16), None),
        (point(8, 56, 24, 144), None),
        (point(8, 56, 96, 24), None),
        (point(8, 56, 144, 32), None),
        (point(8, 28, 192, 32), None),
        (point(8, 14, 64, 384), None),
        (point(8, 14, 384, 64), None),
        (point(8, 7, 320, 1280), None),
        (ConvShape::plain([16, 28, 28, 1], 32, [3, 3]), Some([2, 2])),
        (ConvShape::plain([16, 13, 13, 32], 64, [3, 3]), Some([2, 2])),
        (ConvShape::plain([128, 28, 28, 1], 32, [3, 3]), Some([2, 2])),
        (
            ConvShape::plain([128, 13, 13, 32], 64, [3, 3]),
            Some([2, 2]),
        ),
        (half(same(8, 224, 3, 32)), None),
        (same(1, 14, 256, 256), None),
    ];
    let mut cases = vec![
        gemm(isa, 128, 128, 1600)?,
        gemm(isa, 256, 512, 784)?,
        gemm(isa, 2048, 128, 512)?,
        gemm(isa, 2048, 512, 128)?,
        gemm(isa, 1024, 1024, 1024)?,
        gemm(isa, 1, 1024, 1024)?,
        gemm_tn(isa, 128, 1600, 128)?,
        gemm_tn(isa, 256, 784, 512)?,
        gemm_tn(isa, 2048, 512, 128)?,
        gemm_tn(isa, 2048, 128, 512)?,
        gemm_tn(isa, 128, 128, 10)?,
        gemm_tn(isa, 4096, 128, 512)?,
        gemm_tn(isa, 4096, 64, 512)?,
        gemm_tn(isa, 1024, 128, 512)?,
    ];
    for image in [
        [1, 112, 112, 32],
        [1, 56, 56, 144],
        [1, 28, 28, 192],
        [1, 14, 14, 384],
        [1, 7, 7, 960],
    ] {
        cases.extend(depthwise(isa, image)?);
    }
    for cell in [RecurrentCell::Gru, RecurrentCell::Lstm, RecurrentCell::Rnn] {
        cases.extend(recurrent(isa, cell, [16, 64, 128]));
    }
    for (shape, pool) in convolutions {
        cases.extend(convolution(isa, shape, pool)?);
    }
    Ok(cases)
}

/// A machine that runs the kernel of `case` alone, with operands full of small numbers.
fn machine(case: &Case, pool: Arc<Pool>) -> Result<Machine> {
    let (mut len, kernel) = (0, Arc::clone(&case.kernel));
    let operands = kernel
        .operands()
        .iter()
        .map(|spec| {
            let bytes = spec.len * spec.dtype.size_bytes().unwrap_or(1);
            let region = Region {
                space: Space::Work,
                offset: len,
                len: bytes,
            };
            len = region.end().next_multiple_of(64);
            (case.has_all_operands || !spec.optional).then_some(region)
        })
        .collect();
    let stage = Stage {
        chains: vec![Chain {
            calls: vec![Call { kernel, operands }],
        }],
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
        *value = (index * 7919 % 101) as f32 * 0.01;
    }
    let empty = || Arena::zeroed(0);
    Machine::new(program, Arc::new(empty()), empty(), work, pool)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark needs a clock")]
fn seconds(machine: &mut Machine) -> f64 {
    let start = Instant::now();
    machine.run();
    start.elapsed().as_secs_f64()
}

fn measure(case: &Case, probe: &mut Machine, pool: &Arc<Pool>) -> Result<()> {
    let mut machine = machine(case, Arc::clone(pool))?;
    let (mut best, mut best_probe, mut spent) = (f64::MAX, f64::MAX, 0.0);
    while spent < SECONDS_PER_CASE {
        best_probe = best_probe.min(seconds(probe));
        for _ in 0..4 {
            let time = seconds(&mut machine);
            best = best.min(time);
            spent += time;
        }
    }
    let rate = |machine: &Machine, time: f64| machine.program().flops() as f64 / time / 1e9;
    let (reached, peak) = (rate(&machine, best), rate(probe, best_probe));
    println!(
        "{:<40} {:>9.4} ms {reached:>8.1} GFLOP/s {:>6.1} % of {peak:.1}",
        case.name,
        best * 1e3,
        100.0 * reached / peak
    );
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.next().unwrap_or_default();
    let threads = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let pool = Arc::new(Pool::bound(threads)?);
    let only = arguments.next();
    let wanted = |isa: &Isa| only.as_deref().is_none_or(|name| name == isa.name());
    for isa in Isa::available().into_iter().filter(wanted) {
        println!("{isa}, {threads} threads");
        let probe = Case::new("probe".to_owned(), Arc::new(FmaProbe::new(isa, threads)));
        let mut probe = machine(&probe, Arc::clone(&pool))?;
        for case in cases(isa)?
            .iter()
            .filter(|case| case.name.contains(&filter))
        {
            measure(case, &mut probe, &pool)?;
        }
    }
    Ok(())
}
