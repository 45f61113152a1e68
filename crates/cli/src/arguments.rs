//! What can be written on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Prompt flows: check, run, batch and look at them. Data goes to stdout, everything else to stderr.
#[derive(Parser, Debug)]
#[command(name = "flowbench", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done · 1 could not · 2 wrong use or invalid file · 3 gate failed · \
4 not enough evidence · 5 integrity broken · 6 budget spent · 130 interrupted")]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Debug, Clone)]
pub struct Global {
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Print nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice says most
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Workspace folder; else the nearest folder above with `flowbench.yaml`
    #[arg(long, global = true, value_name = "FOLDER")]
    pub workspace: Option<PathBuf>,
    /// Connections file, looked in before the workspace's and your own; its hosts count as approved
    #[arg(long, global = true, value_name = "FILE")]
    pub connections: Option<PathBuf>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Find what is wrong with flows; runs nothing
    Check(Check),
    /// Run a flow once
    Run(Run),
    /// Run a flow on every line of a data file
    Batch(Batch),
    /// Look at earlier runs
    #[command(subcommand)]
    Runs(Runs),
    /// Bring flows from elsewhere
    #[command(subcommand)]
    Import(Import),
    /// Make a new flow or index
    #[command(subcommand)]
    New(New),
    /// Documents: build an index, ask it, look into it
    #[command(subcommand)]
    Index(Index),
    /// Models on this machine
    #[command(subcommand)]
    Models(Models),
    /// Endpoints and the secrets they need
    #[command(subcommand)]
    Connections(Connections),
    /// Approve the code and hosts of a folder
    Trust(Trust),
    /// Look at this machine and this workspace
    Doctor,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Reads documents for another process of this program
    #[command(name = "__extract", hide = true)]
    Extract,
    /// Write the man pages into a folder
    Man {
        /// Where to
        folder: PathBuf,
    },
}

#[derive(Args, Debug)]
pub struct Check {
    /// A flow folder or file, or a folder with flows; the workspace when absent
    pub path: Option<PathBuf>,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = FindingFormat::Text)]
    pub output: FindingFormat,
    /// Variant to check, as NODE=ID
    #[arg(long, value_name = "NODE=ID")]
    pub variant: Vec<String>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingFormat {
    Text,
    Json,
    Sarif,
}

/// What a run and a batch have in common.
#[derive(Args, Debug, Clone)]
pub struct RunSettings {
    /// Variant of a node, as NODE=ID; several nodes may be named
    #[arg(long, value_name = "NODE=ID")]
    pub variant: Vec<String>,
    /// Allow this flow's Python and the hosts that its folder names, for this call
    #[arg(long)]
    pub trust: bool,
    /// Keep every call to the outside in this file
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub record: Option<PathBuf>,
    /// Answer every call from this recording; nothing is asked of the outside
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Do not reuse results of earlier runs
    #[arg(long)]
    pub no_cache: bool,
    /// Refuse to build an index that has not been built
    #[arg(long)]
    pub no_build: bool,
    /// Most money to spend, in the currency of the price table
    #[arg(long, value_name = "AMOUNT")]
    pub budget: Option<f64>,
    /// Most tokens to spend
    #[arg(long, value_name = "TOKENS")]
    pub budget_tokens: Option<u64>,
    /// Longest time, such as 90s or 5m
    #[arg(long, value_name = "TIME")]
    pub budget_time: Option<String>,
    /// Requests in flight to one endpoint
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub endpoint_width: usize,
    /// Make the virtual environment of `requirements.txt` first
    #[arg(long)]
    pub install: bool,
    /// Connection or other llm setting of a node, as NODE.KEY=VALUE (keys: connection, model, deployment_name, any input)
    #[arg(long = "set", value_name = "NODE.KEY=VALUE")]
    pub set: Vec<String>,
    /// Environment variable for the flow, as NAME=VALUE
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Run {
    /// Flow folder, or a flow.dag.yaml, .prompty or flow.flex.yaml file
    pub flow: PathBuf,
    /// Flow input, as NAME=VALUE; a value of the form @FILE is read from that file
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub input: Vec<String>,
    /// All inputs as one JSON object, from a file (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,
    #[command(flatten)]
    pub settings: RunSettings,
    /// Print the answer as it comes
    #[arg(long)]
    pub stream: bool,
    /// Chat: read questions from stdin, keep the history
    #[arg(long)]
    pub interactive: bool,
    /// Run this node and what follows; earlier results come from the last run
    #[arg(long, value_name = "NODE")]
    pub from: Option<String>,
    /// Run only this node and what it needs
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
    /// Take a node's result from a file, as NODE=FILE (JSON, else text)
    #[arg(long, value_name = "NODE=FILE")]
    pub pin: Vec<String>,
    /// Print the trace of nodes and calls to stderr
    #[arg(long)]
    pub trace: bool,
}

#[derive(Args, Debug)]
pub struct Batch {
    /// Flow folder or file
    #[arg(required_unless_present = "file")]
    pub flow: Option<PathBuf>,
    /// Data: jsonl, json, csv, tsv, parquet or a folder
    #[arg(long, value_name = "FILE", required_unless_present_any = ["resume", "file", "run"])]
    pub data: Option<PathBuf>,
    /// Where an input comes from, as INPUT=${data.COLUMN}, ${run.outputs.NAME} or a literal
    #[arg(long, value_name = "INPUT=VALUE")]
    pub map: Vec<String>,
    /// Earlier run whose inputs and outputs the mapping may use
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    #[command(flatten)]
    pub settings: RunSettings,
    /// Combinations of variants: NODE=ID,ID for each node; every combination is a run of its own
    #[arg(long, value_name = "NODE=ID,ID")]
    pub matrix: Vec<String>,
    /// Lines in flight [default: the workspace's `max_parallel`, else 16]
    #[arg(long, value_name = "N")]
    pub parallel: Option<usize>,
    /// Longest time for one line [default: 600s]
    #[arg(long, value_name = "TIME")]
    pub line_timeout: Option<String>,
    /// Go on with an earlier run: finished lines are kept
    #[arg(long, value_name = "RUN")]
    pub resume: Option<String>,
    /// When resuming, run failed lines again
    #[arg(long, requires = "resume")]
    pub retry_failed: bool,
    /// Failed lines that still count as success
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_failed: u64,
    /// Only the first lines
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Write outputs here instead of to stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Name of the run
    #[arg(long)]
    pub name: Option<String>,
    /// A prompt flow run file (`run.yaml`) with flow, data, mapping and variant
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum Runs {
    /// Latest runs first
    List {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// One run: inputs, outputs, tokens, cost, metrics
    Show {
        /// Run id, a unique beginning of one, or `last`
        run: String,
    },
    /// What happened, node by node
    Trace {
        /// Run id, a unique beginning of one, or `last`
        run: String,
        /// Only this line of a batch
        #[arg(long)]
        line: Option<u64>,
    },
    /// Write a run in another layout
    Export {
        /// Run id, a unique beginning of one, or `last`
        run: String,
        /// Folder to write
        #[arg(long)]
        out: PathBuf,
        /// Layout
        #[arg(long, value_enum, default_value_t = ExportLayout::Promptflow)]
        layout: ExportLayout,
    },
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportLayout {
    /// The run folder of prompt flow
    Promptflow,
}

#[derive(Subcommand, Debug)]
pub enum Import {
    /// Report what of a prompt flow folder runs here, node by node; the source is not touched
    Promptflow {
        /// Flow folder
        path: PathBuf,
        /// Copy the flow here
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
}

#[derive(Subcommand, Debug)]
pub enum New {
    /// A flow
    Flow {
        /// Name of the new folder under `flows/`
        name: String,
        /// Sample to start from
        #[arg(long, default_value = "chat")]
        from: String,
    },
    /// An index of documents
    Index {
        /// Name of the new file under `indexes/`
        name: String,
        /// Folder or file with the documents
        #[arg(long, value_name = "PATH", default_value = "docs")]
        path: String,
    },
}

#[derive(Subcommand, Debug)]
pub enum Index {
    /// The indexes of this workspace, and what answers now
    List,
    /// Read, clean, cut and embed the documents; what did not change is kept
    Build(IndexBuild),
    /// Ask an index
    Search(IndexSearch),
    /// What an index holds: sources, models, languages, cleaning, quality, failures
    Inspect {
        /// Index name
        name: String,
        /// Only this document, with its chunks
        #[arg(long, value_name = "DOCUMENT", conflicts_with = "chunk")]
        document: Option<String>,
        /// Only this chunk, with the way back to the bytes it came from
        #[arg(long, value_name = "CHUNK")]
        chunk: Option<String>,
    },
    /// Read everything that is kept, ask the probes, and compare the embedding model with the stored vectors
    Verify {
        /// Index name
        name: String,
        /// Allow what lies outside the workspace and hosts that only it names, for this call
        #[arg(long)]
        trust: bool,
    },
    /// Bring sources up to date that are older than they may be, and tell what it cost
    Refresh {
        /// Index name
        name: String,
        /// All sources, whatever their age
        #[arg(long)]
        all: bool,
        /// Allow what lies outside the workspace and hosts that only it names, for this call
        #[arg(long)]
        trust: bool,
    },
    /// Measure answers with labelled queries
    Eval(IndexEval),
}

#[derive(Args, Debug)]
pub struct IndexBuild {
    /// Index name
    pub name: String,
    /// Forget what earlier builds kept
    #[arg(long)]
    pub fresh: bool,
    /// Read, clean and cut, and tell what there would be; embed and write nothing
    #[arg(long)]
    pub preview: bool,
    /// Allow documents outside the workspace and hosts that only it names, for this call
    #[arg(long)]
    pub trust: bool,
}

/// How a question is asked where the index's own settings do not suit.
#[derive(Args, Debug, Clone)]
pub struct IndexQuestion {
    /// keyword, vector, hybrid or hybrid+rerank
    #[arg(long)]
    pub mode: Option<String>,
    /// Hits given
    #[arg(short = 'k', long, value_name = "N")]
    pub top_k: Option<usize>,
    /// Only chunks with this metadata, as FIELD=VALUE; several must all hold
    #[arg(long = "filter", value_name = "FIELD=VALUE")]
    pub filters: Vec<String>,
    /// Share of vectors in hybrid search, 0 to 1
    #[arg(long, value_name = "SHARE")]
    pub weight: Option<f64>,
    /// Compare with every vector instead of walking the graph
    #[arg(long)]
    pub exact: bool,
}

#[derive(Args, Debug)]
pub struct IndexSearch {
    /// Index name
    pub name: String,
    /// The question
    pub query: String,
    #[command(flatten)]
    pub question: IndexQuestion,
    /// Tell why this chunk is not among the hits, and which setting would bring it in
    #[arg(long, value_name = "CHUNK")]
    pub why: Option<String>,
    /// Refuse to build an index that has not been built
    #[arg(long)]
    pub no_build: bool,
    /// Allow documents outside the workspace and hosts that only it names, for this call
    #[arg(long)]
    pub trust: bool,
}

#[derive(Args, Debug)]
pub struct IndexEval {
    /// Index name
    pub name: String,
    /// Labelled queries: JSON lines with `query` and `expect`, or a folder with `queries.jsonl` and `qrels/test.tsv`
    #[arg(long, value_name = "FILE")]
    pub queries: PathBuf,
    /// Modes to measure [default: the index's own]
    #[arg(long, value_name = "MODE,MODE", value_delimiter = ',')]
    pub modes: Vec<String>,
    /// Compare with this index on the same queries
    #[arg(long, value_name = "NAME")]
    pub against: Option<String>,
    /// Learn the share of vectors from these queries
    #[arg(long)]
    pub learn_weight: bool,
    /// Tell what each source adds
    #[arg(long)]
    pub sources: bool,
    /// Worst queries shown
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub worst: usize,
    #[command(flatten)]
    pub question: IndexQuestion,
    /// Allow documents outside the workspace and hosts that only it names, for this call
    #[arg(long)]
    pub trust: bool,
}

#[derive(Subcommand, Debug)]
pub enum Models {
    /// The catalog, and what is on this machine
    List,
    /// One model
    Show {
        /// Catalog name
        name: String,
    },
    /// Bring a model into the store
    Pull {
        /// Catalog name
        name: String,
    },
    /// Put a local file or folder into the store
    Add {
        /// Name to give it
        name: String,
        /// File or folder
        path: PathBuf,
    },
    /// Check the digests of a model, or of all
    Verify {
        /// Catalog name
        name: Option<String>,
    },
    /// Write the vectors of texts as JSON lines
    Embed {
        /// Catalog name, folder, or CONNECTION/MODEL
        model: String,
        /// JSON lines with `id` and `text` (`-` is stdin)
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Embed as questions instead of documents, for models that tell them apart
        #[arg(long)]
        query: bool,
        /// Numbers in a vector, for models that let one choose
        #[arg(long, value_name = "N")]
        dimensions: Option<u32>,
        /// Allow hosts that only this workspace names, for this call
        #[arg(long)]
        trust: bool,
    },
    /// Make a small static embedding model from an encoder
    Distill {
        /// Encoder: catalog name or folder
        model: String,
        /// Folder to write
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Numbers in a vector
        #[arg(long, value_name = "N", default_value_t = 256)]
        dimensions: usize,
        /// Text whose words and frequencies are used (plain text, or JSON lines with `text`)
        #[arg(long, value_name = "FILE")]
        corpus: Option<PathBuf>,
        /// Whole words of the corpus added to the vocabulary
        #[arg(long, value_name = "N", default_value_t = 0, requires = "corpus")]
        words: usize,
        /// Numbers of 32 bits instead of 8
        #[arg(long)]
        full: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum Connections {
    /// Known connections and where each is written
    List,
    /// Ask an endpoint whether it answers
    Test {
        /// Connection name
        name: String,
        /// Model to ask
        #[arg(long)]
        model: Option<String>,
    },
}

#[derive(Args, Debug)]
pub struct Trust {
    /// Flow folder or workspace
    pub path: PathBuf,
    /// Take the approval back
    #[arg(long)]
    pub revoke: bool,
}
