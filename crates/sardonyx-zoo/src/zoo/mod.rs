//! The zoo: networks by name. Where torchvision has the same network, parameters have its names,
//! shapes, counts and initial distributions, so that its weights can be put in by name.

mod mobilenet;
mod plain;
mod resnet;
mod sequence;
mod vgg;

use sardonyx_ir::Graph;

use crate::layers::{Activation, Normalize, Rescale};
use crate::{Input, Model, Result, Seed, ZooError};

/// A network of the zoo.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Name by which it is asked for.
    pub name: &'static str,
    /// What it is, in a line.
    pub description: &'static str,
    /// Shape of its input without the batch, unless the options say otherwise: channels, height
    /// and width of an image, or steps and features of a sequence.
    pub input: &'static [usize],
    /// Number of classes, unless the options say otherwise.
    pub classes: usize,
    define: fn(Blueprint) -> Model,
}

/// What can be chosen about a network; the default is what its paper has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// Shape of the input without the batch.
    pub input: Option<Vec<usize>>,
    /// Number of classes.
    pub classes: Option<usize>,
    /// What the last layer gives.
    pub output: Output,
    /// Nodes between the raw data and the network.
    pub preprocess: Option<Preprocess>,
    /// The input is token ids below this number, which are embedded (of `text-transformer` only;
    /// the input's shape is then the number of steps).
    pub vocabulary: Option<usize>,
}

/// What a classifier gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// The softmax of the logits.
    #[default]
    Probabilities,
    /// The last layer as it is.
    Logits,
}

/// Nodes between the raw data and the network.
#[derive(Debug, Clone, PartialEq)]
pub enum Preprocess {
    /// By the mean and standard deviation of each channel.
    Normalize(Normalize),
    /// By a factor and a term.
    Rescale(Rescale),
}

/// An entry with its options resolved.
#[derive(Debug, Clone)]
struct Blueprint {
    name: &'static str,
    input: Vec<usize>,
    classes: usize,
    preprocess: Option<Preprocess>,
    vocabulary: Option<usize>,
}

/// Every network, sorted by name.
pub static MODELS: &[Entry] = &[
    Entry {
        name: "gru",
        description: "gated recurrent units, 128 hidden, classified by the last state",
        input: &[64, 64],
        classes: 10,
        define: sequence::gru,
    },
    Entry {
        name: "lstm",
        description: "long short-term memory, 128 hidden, classified by the last state",
        input: &[64, 64],
        classes: 10,
        define: sequence::lstm,
    },
    Entry {
        name: "mlp",
        description: "two hidden layers of 512 units",
        input: &[1, 28, 28],
        classes: 10,
        define: plain::mlp,
    },
    Entry {
        name: "mlp-small",
        description: "one hidden layer of 128 units",
        input: &[1, 28, 28],
        classes: 10,
        define: plain::mlp_small,
    },
    Entry {
        name: "mobilenet-v2",
        description: "inverted residuals and linear bottlenecks, as in torchvision",
        input: &[3, 224, 224],
        classes: 1000,
        define: mobilenet::mobilenet_v2,
    },
    Entry {
        name: "resnet18",
        description: "residual network of 18 layers, as in torchvision",
        input: &[3, 224, 224],
        classes: 1000,
        define: resnet::resnet18,
    },
    Entry {
        name: "resnet18-32",
        description: "residual network of 18 layers with a 3x3 stem, for small images",
        input: &[3, 32, 32],
        classes: 10,
        define: resnet::resnet18_32,
    },
    Entry {
        name: "resnet50",
        description: "residual network of 50 layers with bottlenecks, as in torchvision",
        input: &[3, 224, 224],
        classes: 1000,
        define: resnet::resnet50,
    },
    Entry {
        name: "resnet8",
        description: "residual network of 8 layers, 32 filters at the first, for small images",
        input: &[3, 32, 32],
        classes: 10,
        define: resnet::resnet8,
    },
    Entry {
        name: "rnn",
        description: "Elman's recurrent network, 128 hidden, classified by the last state",
        input: &[64, 64],
        classes: 10,
        define: sequence::rnn,
    },
    Entry {
        name: "seed-cnn",
        description: "two convolutions with pooling and two dense layers, for small images",
        input: &[1, 28, 28],
        classes: 10,
        define: plain::seed_cnn,
    },
    Entry {
        name: "text-transformer",
        description: "transformer encoder of 4 layers, classified by the mean over the steps",
        input: &[64, 128],
        classes: 10,
        define: sequence::text_transformer,
    },
    Entry {
        name: "vgg11",
        description: "very deep convolutional network of 11 layers, as in torchvision",
        input: &[3, 224, 224],
        classes: 1000,
        define: vgg::vgg11,
    },
    Entry {
        name: "vgg16",
        description: "very deep convolutional network of 16 layers, as in torchvision",
        input: &[3, 224, 224],
        classes: 1000,
        define: vgg::vgg16,
    },
];

/// The network of this name.
///
/// # Errors
/// [`ZooError::UnknownModel`], with the nearest name.
pub fn find(name: &str) -> Result<&'static Entry> {
    if let Some(entry) = MODELS.iter().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    let distance = |entry: &&Entry| strsim::damerau_levenshtein(entry.name, name);
    let nearest = MODELS.iter().min_by_key(distance);
    let near = nearest.filter(|entry| distance(entry) * 3 <= name.len().max(3));
    let hint = near.map_or_else(
        || {
            let names: Vec<_> = MODELS.iter().map(|entry| entry.name).collect();
            format!("the zoo has {}", names.join(", "))
        },
        |entry| format!("did you mean `{}`?", entry.name),
    );
    let name = name.to_owned();
    Err(ZooError::UnknownModel { name, hint })
}

impl Entry {
    /// The network before its weights are drawn: to count parameters, or to put more layers on.
    ///
    /// # Errors
    /// When the network cannot have these options.
    pub fn model(&self, options: &Options) -> Result<Model> {
        let takes_tokens = self.name == "text-transformer";
        if options.vocabulary.is_some() && !takes_tokens {
            return Err(self.refuse("it takes no token ids; hint: leave out `vocabulary`"));
        }
        let input = match (&options.input, options.vocabulary) {
            (Some(input), _) => input.clone(),
            (None, Some(_)) => self.input[..1].to_vec(),
            (None, None) => self.input.to_vec(),
        };
        if input.is_empty() || input.contains(&0) {
            return Err(self.refuse(&format!("its input cannot be {input:?}")));
        }
        let model = (self.define)(Blueprint {
            name: self.name,
            input,
            classes: options.classes.unwrap_or(self.classes),
            preprocess: options.preprocess.clone(),
            vocabulary: options.vocabulary,
        });
        Ok(match options.output {
            Output::Probabilities => model.layer(Activation::Softmax),
            Output::Logits => model,
        })
    }

    /// The network with weights drawn from `seed`.
    ///
    /// # Errors
    /// When the network cannot have these options, such as an image too small for its pools.
    pub fn build(&self, options: &Options, seed: Seed) -> Result<Graph> {
        self.model(options)?.build(seed)
    }

    fn refuse(&self, problem: &str) -> ZooError {
        ZooError::Options {
            model: self.name.to_owned(),
            problem: problem.to_owned(),
        }
    }
}

impl Blueprint {
    /// The model with its input and preprocessing.
    fn start(&self) -> Model {
        self.start_with(Input::new(&self.input))
    }

    fn start_with(&self, input: Input) -> Model {
        let model = Model::new(self.name, input);
        match &self.preprocess {
            None => model,
            Some(Preprocess::Normalize(normalize)) => model.layer(normalize.clone()),
            Some(Preprocess::Rescale(rescale)) => model.layer(*rescale),
        }
    }
}
