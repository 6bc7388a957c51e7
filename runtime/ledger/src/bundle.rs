//! The bundle: everything about one receipt in one file, for checking without a node.
//!
//! A `.talea` file is the bytes of one bundle. Receipt, proof and run are always there; input, output, bodies and
//! the function's code may be left out, for size or because the asker may not see them. Decoding a bundle says
//! nothing about its truth: [`Bundle::check`] verifies the proof and every link between the parts that are there.

use crate::audit::{self, Field as ReceiptField};
use crate::batch::{Proof, verify_receipt};
use crate::codec::{Blob, DecodeError, Decoder, Document, Encoder, Field, record};
use crate::draw::{CheckedForward, Forward, ForwardError};
use crate::id::{BodyId, FunctionId, InputId, OutputId, PublicKey};
use crate::input::Input;
use crate::output::Output;
use crate::receipt::Receipt;
use crate::run::Run;
use crate::sign::{Domain, Sealed, Verified, VerifyError};

/// Longest module: far above what a node deploys (its own limit is configuration), low enough to hold in memory.
pub const FUNCTION_LEN_MAX: usize = 64 * 1024 * 1024;
/// Longest body, for the same reason.
pub const BODY_LEN_MAX: usize = 64 * 1024 * 1024;

/// An encoded receipt.
pub type ReceiptPayload = Blob<{ <Receipt as Document>::LEN_MAX }>;
/// An encoded run.
pub type RunPayload = Blob<{ <Run as Document>::LEN_MAX }>;
/// An encoded input.
pub type InputPayload = Blob<{ <Input as Document>::LEN_MAX }>;
/// An encoded output.
pub type OutputPayload = Blob<{ <Output as Document>::LEN_MAX }>;
/// A body.
pub type Body = Blob<BODY_LEN_MAX>;
/// A module.
pub type Code = Blob<FUNCTION_LEN_MAX>;

record! {
    /// One receipt and what belongs to it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Bundle {
        /// The function's bytes.
        "fn" => pub function: Option<Code>,
        /// The input document.
        "in" => pub input: Option<InputPayload>,
        /// The output document.
        "out" => pub output: Option<OutputPayload>,
        /// The run, with its payer's signature if it is paid.
        "run" => pub run: BundledRun,
        /// Of a forwarded run, how the host was chosen and what it said.
        "via" => pub forward: Option<Box<Forward>>,
        /// What leads the receipt to a signature.
        "proof" => pub proof: Proof,
        /// The body of the input.
        "inbody" => pub input_body: Option<Body>,
        /// The body of the output.
        "outbody" => pub output_body: Option<Body>,
        /// The receipt.
        "receipt" => pub receipt: ReceiptPayload,
    }
}

/// A run as it lies in a bundle: the bytes of a free one, the envelope of a paid one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundledRun {
    /// Made by the node, unsigned.
    Free(RunPayload),
    /// Signed by its payer.
    Paid(Sealed),
}

/// A bundle whose parts agree. Only [`Bundle::check`] makes one.
#[derive(Debug, Clone)]
pub struct Checked {
    receipt: Verified<Receipt>,
    run: Run,
    input: Option<Input>,
    output: Option<Output>,
    forward: Option<CheckedForward>,
}

/// Why the parts of a bundle do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The receipt is not proven.
    #[error("receipt: {0}")]
    Receipt(#[source] VerifyError),
    /// The run's signature does not hold.
    #[error("run: {0}")]
    Run(#[source] VerifyError),
    /// A part is not a document of its type.
    #[error("{part}: malformed {source}")]
    Malformed {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The receipt says otherwise than the run.
    #[error("the receipt's {field} is {receipt}, its run calls for {run}")]
    Differs {
        /// The field.
        field: ReceiptField,
        /// What the receipt says.
        receipt: String,
        /// What follows from the run.
        run: String,
    },
    /// The papers of a forward do not hold.
    #[error("forward: {0}")]
    Forward(#[from] ForwardError),
    /// A part is not the one that the receipt or a document names.
    #[error("{0} is not the one that is named")]
    Link(&'static str),
    /// A paid run without its signature, or a signature on a free one.
    #[error("a paid run is signed and a free one is not")]
    Payment,
    /// The run was signed by another key than the receipt says paid.
    #[error("the run was signed by {signer}, the receipt names {payer} as payer")]
    Payer {
        /// Who signed.
        signer: PublicKey,
        /// Who is named.
        payer: PublicKey,
    },
}

impl Document for Bundle {
    const DOMAIN: Domain = Domain::Bundle;
}

impl Bundle {
    /// Verifies the proof, the run's signature, the bill, and every link between the parts that are there.
    pub fn check(&self) -> Result<Checked, BundleError> {
        let receipt = verify_receipt(&self.receipt, &self.proof).map_err(BundleError::Receipt)?;
        let said = receipt.document();
        let (run, payer) = self.run.open()?;
        if let Some(difference) = audit::against_run(said, &run) {
            return Err(BundleError::Differs {
                field: difference.field,
                receipt: difference.claimed,
                run: difference.found,
            });
        }
        match (payer, &said.payment) {
            (None, None) => {}
            (Some(signer), Some(payment)) if signer == payment.payer => {}
            (Some(signer), Some(payment)) => {
                return Err(BundleError::Payer { signer, payer: payment.payer });
            }
            _ => return Err(BundleError::Payment),
        }
        let input = self.checked_input(said)?;
        let output = self.checked_output(said)?;
        if let Some(code) = &self.function
            && FunctionId::of(code) != said.function
        {
            return Err(BundleError::Link("the function"));
        }
        let forward = self.forward.as_ref().map(|via| via.check(&run, said)).transpose()?;
        Ok(Checked { receipt, run, input, output, forward })
    }

    fn checked_input(&self, said: &Receipt) -> Result<Option<Input>, BundleError> {
        let Some(payload) = &self.input else {
            // A body alone has nothing that names it.
            return match self.input_body {
                None => Ok(None),
                Some(_) => Err(BundleError::Link("the input's body")),
            };
        };
        let input = Input::decode(payload).map_err(malformed("input"))?;
        if InputId::of(payload) != said.input || input.body_len != said.input_len {
            return Err(BundleError::Link("the input"));
        }
        check_body(&self.input_body, &input.body, input.body_len, "the input's body")?;
        Ok(Some(input))
    }

    fn checked_output(&self, said: &Receipt) -> Result<Option<Output>, BundleError> {
        let Some(payload) = &self.output else {
            return match self.output_body {
                None => Ok(None),
                Some(_) => Err(BundleError::Link("the output's body")),
            };
        };
        let output = Output::decode(payload).map_err(malformed("output"))?;
        if OutputId::of(payload) != said.output || output.body_len != said.output_len {
            return Err(BundleError::Link("the output"));
        }
        check_body(&self.output_body, &output.body, output.body_len, "the output's body")?;
        Ok(Some(output))
    }
}

fn malformed(part: &'static str) -> impl FnOnce(DecodeError) -> BundleError {
    move |source| BundleError::Malformed { part, source }
}

fn check_body(
    body: &Option<Body>,
    named: &BodyId,
    len: u64,
    part: &'static str,
) -> Result<(), BundleError> {
    match body {
        Some(body) if body.len() as u64 != len || BodyId::of(body) != *named => {
            Err(BundleError::Link(part))
        }
        _ => Ok(()),
    }
}

// === impl BundledRun ===

impl BundledRun {
    /// The run's bytes.
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Free(payload) => payload,
            Self::Paid(sealed) => sealed.payload(),
        }
    }

    /// The run, and who signed it.
    pub(crate) fn open(&self) -> Result<(Run, Option<PublicKey>), BundleError> {
        let (run, payer) = match self {
            Self::Free(payload) => (Run::decode(payload).map_err(malformed("run"))?, None),
            Self::Paid(sealed) => {
                let (run, _, payer) =
                    sealed.verify::<Run>().map_err(BundleError::Run)?.into_parts();
                (run, Some(payer))
            }
        };
        if run.payment.is_some() != payer.is_some() {
            return Err(BundleError::Payment);
        }
        Ok((run, payer))
    }
}

impl Field for BundledRun {
    const LEN_MAX: usize = <Sealed as Field>::LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        match self {
            Self::Free(payload) => payload.put(out),
            Self::Paid(sealed) => sealed.put(out),
        }
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        if input.at_map() {
            Sealed::take(input).map(Self::Paid)
        } else {
            RunPayload::take(input).map(Self::Free)
        }
    }
}

// === impl Checked ===

impl Checked {
    /// The proven receipt.
    pub fn receipt(&self) -> &Verified<Receipt> {
        &self.receipt
    }

    /// The run it is about.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The input, if it is there.
    pub fn input(&self) -> Option<&Input> {
        self.input.as_ref()
    }

    /// The output, if it is there.
    pub fn output(&self) -> Option<&Output> {
        self.output.as_ref()
    }

    /// How the host was chosen that ran it, if it was forwarded and the papers are there.
    pub fn forward(&self) -> Option<&CheckedForward> {
        self.forward.as_ref()
    }
}
