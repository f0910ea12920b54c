//! Where the boxes of a layered drawing go (Sugiyama's method): ranks by longest path, crossings
//! reduced by medians, positions by least squares.

/// A drawing's boxes and lines before they have places.
#[derive(Debug, Clone, Default)]
pub(super) struct Boxes {
    /// Width and height of each box.
    pub(super) sizes: Vec<(f64, f64)>,
    /// Lines, from box to box; none leads back.
    pub(super) lines: Vec<(usize, usize)>,
}

/// Places.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// Centre of each box across, top of each box down.
    pub(super) boxes: Vec<(f64, f64)>,
    /// Points of each line: from the bottom of a box to the top of another.
    pub(super) lines: Vec<Vec<(f64, f64)>>,
    /// Extent.
    pub(super) width: f64,
    /// Extent.
    pub(super) height: f64,
}

/// Space between boxes of a rank.
const GAP_ACROSS: f64 = 24.0;
/// Space between ranks.
const GAP_DOWN: f64 = 30.0;
/// Width of a line that passes a rank.
const LINE_WIDTH: f64 = 8.0;
/// Sweeps over the ranks, each improving on the last.
const SWEEPS: usize = 12;
/// How much straighter a line that passes ranks wants to be than one between boxes.
const STRAIGHTNESS: f64 = 8.0;

/// Boxes, and for every rank that a line passes a point that takes part in the ordering like a box.
struct Layers {
    /// Width, height, rank.
    points: Vec<(f64, f64, usize)>,
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
    /// Points of each rank, left to right.
    ranks: Vec<Vec<usize>>,
    n_boxes: usize,
    /// The points that each line passes, its ends included.
    routes: Vec<Vec<usize>>,
}

/// Places boxes so that every line leads down.
pub(super) fn place(boxes: &Boxes) -> Places {
    let mut layers = Layers::new(boxes, &ranks(boxes));
    layers.reduce_crossings();
    let x = layers.across();
    let mut top = 0.0;
    let mut tops = Vec::with_capacity(layers.ranks.len());
    for rank in &layers.ranks {
        tops.push(top);
        let height = rank.iter().map(|&p| layers.points[p].1).fold(0.0, f64::max);
        top += height + GAP_DOWN;
    }
    let lines = layers.routes.iter().map(|route| {
        let ends = route.len() - 1;
        let point = |(index, &p): (usize, &usize)| {
            let (_, height, rank) = layers.points[p];
            let y = tops[rank];
            match index {
                0 => vec![(x[p], y + height)],
                _ if index == ends => vec![(x[p], y)],
                // Straight through the rank, as deep as it is.
                _ => {
                    let next = tops.get(rank + 1).copied().unwrap_or(top);
                    vec![(x[p], y), (x[p], next - GAP_DOWN)]
                }
            }
        };
        route.iter().enumerate().flat_map(point).collect()
    });
    Places {
        lines: lines.collect(),
        boxes: (0..layers.n_boxes)
            .map(|b| (x[b], tops[layers.points[b].2]))
            .collect(),
        width: (0..layers.points.len())
            .map(|p| x[p] + layers.points[p].0 / 2.0)
            .fold(0.0, f64::max),
        height: (top - GAP_DOWN).max(0.0),
    }
}

/// The longest way from a source to each box; sources themselves stand right above their readers.
fn ranks(boxes: &Boxes) -> Vec<usize> {
    let n_boxes = boxes.sizes.len();
    let mut waits_for = vec![0usize; n_boxes];
    let mut below = vec![Vec::new(); n_boxes];
    for &(from, to) in &boxes.lines {
        waits_for[to] += 1;
        below[from].push(to);
    }
    let sources: Vec<usize> = (0..n_boxes).filter(|&b| waits_for[b] == 0).collect();
    let mut ready = sources.clone();
    let mut ranks = vec![0usize; n_boxes];
    while let Some(from) = ready.pop() {
        for &to in &below[from] {
            ranks[to] = ranks[to].max(ranks[from] + 1);
            waits_for[to] -= 1;
            if waits_for[to] == 0 {
                ready.push(to);
            }
        }
    }
    for source in sources {
        let first = below[source].iter().map(|&to| ranks[to]).min();
        ranks[source] = first.map_or(0, |rank| rank.saturating_sub(1));
    }
    ranks
}

impl Layers {
    fn new(boxes: &Boxes, ranks_of: &[usize]) -> Layers {
        let n_boxes = boxes.sizes.len();
        let n_ranks = ranks_of.iter().max().map_or(0, |last| last + 1);
        let sized = boxes.sizes.iter().zip(ranks_of);
        let mut layers = Layers {
            points: sized.map(|(&(w, h), &rank)| (w, h, rank)).collect(),
            above: vec![Vec::new(); n_boxes],
            below: vec![Vec::new(); n_boxes],
            ranks: vec![Vec::new(); n_ranks],
            n_boxes,
            routes: Vec::with_capacity(boxes.lines.len()),
        };
        for (b, &rank) in ranks_of.iter().enumerate() {
            layers.ranks[rank].push(b);
        }
        for &(from, to) in &boxes.lines {
            let mut route = vec![from];
            for rank in ranks_of[from] + 1..ranks_of[to] {
                route.push(layers.add_point(rank));
            }
            route.push(to);
            for pair in route.windows(2) {
                layers.below[pair[0]].push(pair[1]);
                layers.above[pair[1]].push(pair[0]);
            }
            layers.routes.push(route);
        }
        layers
    }

    fn add_point(&mut self, rank: usize) -> usize {
        let point = self.points.len();
        self.points.push((LINE_WIDTH, 0.0, rank));
        self.above.push(Vec::new());
        self.below.push(Vec::new());
        self.ranks[rank].push(point);
        point
    }

    /// Sorts each rank by the median of its neighbours, down and up in turn; keeps the best.
    fn reduce_crossings(&mut self) {
        let mut best = self.ranks.clone();
        let mut fewest = self.crossings();
        let mut positions = self.positions();
        for sweep in 0..SWEEPS {
            if fewest == 0 {
                break;
            }
            let downwards = sweep % 2 == 0;
            let n_ranks = self.ranks.len();
            for step in 1..n_ranks {
                let rank = if downwards { step } else { n_ranks - 1 - step };
                self.sort_rank(rank, downwards, &mut positions);
            }
            let crossings = self.crossings();
            if crossings < fewest {
                fewest = crossings;
                best.clone_from(&self.ranks);
            }
        }
        self.ranks = best;
    }

    fn sort_rank(&mut self, rank: usize, downwards: bool, positions: &mut [usize]) {
        let neighbours = if downwards { &self.above } else { &self.below };
        let median = |point: usize| {
            let mut found: Vec<usize> = neighbours[point].iter().map(|&n| positions[n]).collect();
            found.sort_unstable();
            match found.len() {
                0 => positions[point] as f64,
                n if n % 2 == 1 => found[n / 2] as f64,
                n => (found[n / 2 - 1] + found[n / 2]) as f64 / 2.0,
            }
        };
        let mut keyed: Vec<(f64, usize)> =
            self.ranks[rank].iter().map(|&p| (median(p), p)).collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.ranks[rank] = keyed.into_iter().map(|(_, point)| point).collect();
        for (position, &point) in self.ranks[rank].iter().enumerate() {
            positions[point] = position;
        }
    }

    fn positions(&self) -> Vec<usize> {
        let mut positions = vec![0; self.points.len()];
        for rank in &self.ranks {
            for (position, &point) in rank.iter().enumerate() {
                positions[point] = position;
            }
        }
        positions
    }

    fn crossings(&self) -> usize {
        let positions = self.positions();
        let mut crossings = 0;
        for rank in &self.ranks {
            let lines = rank.iter().flat_map(|&point| {
                let mut ends: Vec<usize> =
                    self.below[point].iter().map(|&p| positions[p]).collect();
                ends.sort_unstable();
                ends
            });
            let lines: Vec<usize> = lines.collect();
            for (index, end) in lines.iter().enumerate() {
                crossings += lines[..index].iter().filter(|other| *other > end).count();
            }
        }
        crossings
    }

    /// Centre of each point: near those of its neighbours, in the order of its rank.
    fn across(&self) -> Vec<f64> {
        let mut x = vec![0.0; self.points.len()];
        for rank in &self.ranks {
            let mut left = 0.0;
            for &point in rank {
                let width = self.points[point].0;
                x[point] = left + width / 2.0;
                left += width + GAP_ACROSS;
            }
        }
        for sweep in 0..2 * SWEEPS {
            let ranks: Vec<&Vec<usize>> = match sweep % 2 == 0 {
                true => self.ranks.iter().collect(),
                false => self.ranks.iter().rev().collect(),
            };
            for rank in ranks {
                self.settle(rank, sweep % 2 == 0, &mut x);
            }
        }
        let least = |left: f64, p: usize| left.min(x[p] - self.points[p].0 / 2.0);
        let left = (0..x.len()).fold(f64::INFINITY, least);
        x.iter_mut().for_each(|x| *x -= left);
        x
    }

    /// Moves the points of a rank as near to where their neighbours want them as their order and
    /// widths let them: least squares under order, by pooling adjacent violators.
    fn settle(&self, rank: &[usize], downwards: bool, x: &mut [f64]) {
        let mut offset = 0.0;
        let mut offsets = Vec::with_capacity(rank.len());
        let mut pools: Vec<(f64, f64, usize)> = Vec::with_capacity(rank.len());
        for (index, &point) in rank.iter().enumerate() {
            if index > 0 {
                let widths = self.points[rank[index - 1]].0 + self.points[point].0;
                offset += widths / 2.0 + GAP_ACROSS;
            }
            offsets.push(offset);
            let (wanted, weight) = self.wanted(point, downwards, x);
            let mut pool = (wanted - offset, weight, 1);
            while let Some(&(mean, weight, count)) = pools.last() {
                if mean <= pool.0 {
                    break;
                }
                pools.pop();
                let sum = weight + pool.1;
                pool = ((mean * weight + pool.0 * pool.1) / sum, sum, count + pool.2);
            }
            pools.push(pool);
        }
        let means = pools
            .iter()
            .flat_map(|&(mean, _, count)| std::iter::repeat_n(mean, count));
        for ((&point, mean), offset) in rank.iter().zip(means).zip(offsets) {
            x[point] = mean + offset;
        }
    }

    fn wanted(&self, point: usize, downwards: bool, x: &[f64]) -> (f64, f64) {
        let (first, second) = match downwards {
            true => (&self.above[point], &self.below[point]),
            false => (&self.below[point], &self.above[point]),
        };
        let neighbours = if first.is_empty() { second } else { first };
        if neighbours.is_empty() {
            return (x[point], 0.1);
        }
        let is_passing = |p: usize| p >= self.n_boxes;
        let weight = |p: usize| match is_passing(p) && is_passing(point) {
            true => STRAIGHTNESS,
            false => 1.0,
        };
        let sum: f64 = neighbours.iter().map(|&n| weight(n)).sum();
        let mean = neighbours.iter().map(|&n| x[n] * weight(n)).sum::<f64>() / sum;
        (mean, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(n_boxes: usize, lines: &[(usize, usize)]) -> Places {
        let boxes = Boxes {
            sizes: (0..n_boxes)
                .map(|b| (40.0 + (b % 5) as f64 * 20.0, 20.0))
                .collect(),
            lines: lines.to_vec(),
        };
        let places = place(&boxes);
        for (&(from, to), points) in lines.iter().zip(&places.lines) {
            assert!(places.boxes[from].1 < places.boxes[to].1, "lines lead down");
            assert_eq!(points[0].0, places.boxes[from].0);
            assert_eq!(points[points.len() - 1], places.boxes[to]);
            assert!(points.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        }
        for a in 0..n_boxes {
            for b in 0..a {
                let ((ax, ay), (bx, by)) = (places.boxes[a], places.boxes[b]);
                let apart = (boxes.sizes[a].0 + boxes.sizes[b].0) / 2.0;
                assert!(
                    ay != by || (ax - bx).abs() >= apart,
                    "boxes {a} and {b} overlap"
                );
            }
            let left = places.boxes[a].0 - boxes.sizes[a].0 / 2.0;
            assert!(left >= -1e-9 && places.boxes[a].0 <= places.width);
        }
        places
    }

    #[test]
    fn a_chain_is_straight() {
        let lines: Vec<(usize, usize)> = (1..200).map(|b| (b - 1, b)).collect();
        let places = check(200, &lines);
        let first = places.boxes[0].0;
        assert!(
            places
                .boxes
                .iter()
                .all(|place| (place.0 - first).abs() < 1e-6)
        );
    }

    #[test]
    fn branches_do_not_cross_where_they_need_not() {
        // A residual block, and two columns given crosswise.
        check(6, &[(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5), (3, 5)]);
        let places = check(6, &[(0, 3), (1, 2), (2, 4), (3, 5)]);
        let column = |a: usize, b: usize| places.boxes[a].0 < places.boxes[b].0;
        assert_eq!(column(0, 1), column(3, 2));
        assert_eq!(column(3, 2), column(5, 4));
        check(0, &[]);
        check(1, &[]);
    }

    #[test]
    fn any_graph_is_placed() {
        let mut random = sardonyx_tensor::Philox::new(1, 0);
        for n_boxes in [2usize, 5, 17, 60] {
            let mut lines = Vec::new();
            for to in 1..n_boxes {
                for _ in 0..=random.below(2) {
                    lines.push((random.below(to as u64) as usize, to));
                }
            }
            check(n_boxes, &lines);
        }
    }
}
