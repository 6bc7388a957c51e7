//! The stable codes: what a program looks at. A code never changes its meaning or status.

use http::StatusCode;

macro_rules! codes {
    ($($name:ident = $status:ident $text:literal $sentence:literal,)+) => {
        /// A stable code with its status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $( #[doc = $sentence] $name, )+ }

        impl Code {
            /// All of them; the OpenAPI document lists the same.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Code] = &[$( Code::$name, )+];

            /// As it stands in answers.
            pub(crate) fn text(self) -> &'static str {
                match self { $( Code::$name => $text, )+ }
            }

            /// The status that goes with it.
            pub(crate) fn status(self) -> StatusCode {
                match self { $( Code::$name => StatusCode::$status, )+ }
            }

            /// What it says when there is nothing more exact to say.
            pub(crate) fn sentence(self) -> &'static str {
                match self { $( Code::$name => $sentence, )+ }
            }
        }
    };
}

codes! {
    TargetInvalid = BAD_REQUEST "target_invalid" "The path names no function.",
    HeaderInvalid = BAD_REQUEST "header_invalid" "A header of this protocol cannot be read.",
    InputInvalid = BAD_REQUEST "input_invalid" "A part of the request does not fit an input document.",
    QueryInvalid = BAD_REQUEST "query_invalid" "A query parameter cannot be read.",
    BodyBroken = BAD_REQUEST "body_broken" "The body ended early or is not what its headers say.",
    RunMalformed = BAD_REQUEST "run_malformed" "The run in talea-run is not a well-formed document.",
    RunClock = BAD_REQUEST "run_clock" "The run's clock is too far from the host's.",
    SignatureMalformed = BAD_REQUEST "signature_malformed" "The signed document is not well formed.",
    RegistrationInvalid = BAD_REQUEST "registration_invalid" "The registration cannot be honoured.",
    SignatureMissing = UNAUTHORIZED "signature_missing" "This needs a signed request.",
    SignatureInvalid = UNAUTHORIZED "signature_invalid" "The signature does not hold.",
    SignatureForeign = UNAUTHORIZED "signature_foreign" "Signed for another request.",
    SignatureStale = UNAUTHORIZED "signature_stale" "Signed too long ago.",
    NetworkForeign = UNAUTHORIZED "network_foreign" "Signed for another network.",
    HostForeign = UNAUTHORIZED "host_foreign" "Signed for another host.",
    ChannelForeign = UNAUTHORIZED "channel_foreign" "The channel is not the payer's towards this host.",
    PayerForeign = UNAUTHORIZED "payer_foreign" "Signed neither by the channel's payer nor by a key of its session.",
    SessionExpired = UNAUTHORIZED "session_expired" "The session ends too soon, or has ended.",
    SessionRevoked = UNAUTHORIZED "session_revoked" "The payer has ended the session.",
    FunctionForeign = UNAUTHORIZED "function_foreign" "Signed for another function.",
    InputForeign = UNAUTHORIZED "input_foreign" "Signed for another input.",
    RunExpired = UNAUTHORIZED "run_expired" "The run has expired.",
    PaymentRequired = PAYMENT_REQUIRED "payment_required" "This host wants to be paid.",
    PayerUnknown = PAYMENT_REQUIRED "payer_unknown" "The payer has no channel here.",
    ChannelUnknown = PAYMENT_REQUIRED "channel_unknown" "The ledger has no such channel.",
    ChannelEnding = PAYMENT_REQUIRED "channel_ending" "The channel ends too soon to be redeemed.",
    EscrowLow = PAYMENT_REQUIRED "escrow_low" "The channel holds too little.",
    VoucherRequired = PAYMENT_REQUIRED "voucher_required" "Too much work of the channel has no voucher yet.",
    SessionSpent = PAYMENT_REQUIRED "session_spent" "The session's sum is used up.",
    RoyaltyLow = PAYMENT_REQUIRED "royalty_low" "The run gives the author less than its name asks for.",
    PriceLow = PAYMENT_REQUIRED "price_low" "The run's price is below the host's.",
    LimitHigh = PAYMENT_REQUIRED "limit_high" "The run asks for more than is offered.",
    ProfileUnknown = PAYMENT_REQUIRED "profile_unknown" "The run's profile is not offered here.",
    CapLow = PAYMENT_REQUIRED "cap_low" "The run's cap does not cover its limits.",
    CreditSpent = PAYMENT_REQUIRED "credit_spent" "The payer's cover is used up.",
    SessionScope = FORBIDDEN "session_scope" "The session does not cover this.",
    NotPermitted = FORBIDDEN "not_permitted" "The key may not do this.",
    RouteUnknown = NOT_FOUND "route_unknown" "There is nothing at this path.",
    FunctionUnknown = NOT_FOUND "function_unknown" "No such function.",
    NameUnknown = NOT_FOUND "name_unknown" "No function of this name.",
    ReceiptUnknown = NOT_FOUND "receipt_unknown" "No such receipt.",
    LedgerUnknown = NOT_FOUND "ledger_unknown" "The ledger has no such thing.",
    ChannelNotFound = NOT_FOUND "channel_not_found" "No such channel of this host.",
    ProfileNotFound = NOT_FOUND "profile_not_found" "No such profile.",
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed" "Not with this method.",
    RequestTimeout = REQUEST_TIMEOUT "request_timeout" "The request did not come in time.",
    SequenceUsed = CONFLICT "sequence_used" "The sequence belongs to another run.",
    SequenceBeyond = CONFLICT "sequence_beyond" "The sequence is above the channel's window.",
    VoucherBackwards = CONFLICT "voucher_backwards" "A later voucher was given before.",
    VoucherAhead = CONFLICT "voucher_ahead" "The voucher owes more than was billed.",
    VoucherSettles = CONFLICT "voucher_settles" "The voucher settles other sequences than it counts.",
    VoucherParts = CONFLICT "voucher_parts" "More functions than one redeem lists.",
    ChannelEnded = CONFLICT "channel_ended" "The channel has ended.",
    NothingOwed = CONFLICT "nothing_owed" "No voucher brings anything.",
    RedeemRefused = CONFLICT "redeem_refused" "The ledger refuses the redeem.",
    NameTaken = CONFLICT "name_taken" "The namespace belongs to another key.",
    FunctionTaken = CONFLICT "function_taken" "The function was registered by another key.",
    RegistrationOld = CONFLICT "registration_old" "A newer registration is known.",
    NotProvable = CONFLICT "not_provable" "No block shows it yet.",
    OutputGone = GONE "output_gone" "The output is no longer kept.",
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large" "The body is too large.",
    ModuleTooLarge = PAYLOAD_TOO_LARGE "module_too_large" "The module is too large.",
    TargetTooLong = URI_TOO_LONG "target_too_long" "The request target is too long.",
    ModuleRefused = UNPROCESSABLE_ENTITY "module_refused" "The module cannot be a function.",
    TransactionRefused = UNPROCESSABLE_ENTITY "transaction_refused" "The ledger refuses the transaction.",
    FraudUnproven = UNPROCESSABLE_ENTITY "fraud_unproven" "The two receipts contradict nothing.",
    ModuleTooCostly = UNPROCESSABLE_ENTITY "module_too_costly" "The module cannot be compiled within bounds.",
    ForwardedAlready = LOOP_DETECTED "forwarded_already" "The call was passed on once and is not passed on again.",
    ForwardNoHost = SERVICE_UNAVAILABLE "forward_no_host" "No host that is known here offers to run this for the price.",
    ForwardStale = SERVICE_UNAVAILABLE "forward_stale" "The latest final block is too old to draw a host by.",
    ForwardUnfunded = SERVICE_UNAVAILABLE "forward_unfunded" "This gateway cannot pay another host for the call now.",
    ForwardUnreachable = BAD_GATEWAY "forward_unreachable" "The host that was drawn did not answer; nothing is billed.",
    ForwardRefused = BAD_GATEWAY "forward_refused" "The host that was drawn refused the call; nothing is billed.",
    ForwardUnfit = BAD_GATEWAY "forward_unfit" "The answer of the host that was drawn does not hold; nothing is billed.",
    ForwardLate = GATEWAY_TIMEOUT "forward_late" "The host that was drawn took too long; nothing is billed.",
    RateLimited = TOO_MANY_REQUESTS "rate_limited" "Too many calls.",
    Internal = INTERNAL_SERVER_ERROR "internal" "A fault of this host; nothing is billed.",
    EngineFault = INTERNAL_SERVER_ERROR "engine_fault" "The run failed by a fault of this host; nothing is billed.",
    Overloaded = SERVICE_UNAVAILABLE "overloaded" "Too much is under way; try again.",
    StorageUnavailable = SERVICE_UNAVAILABLE "storage_unavailable" "This host cannot write or read its records; nothing is billed.",
    StorageFull = SERVICE_UNAVAILABLE "storage_full" "This host has no room for more records; nothing is billed.",
    ShuttingDown = SERVICE_UNAVAILABLE "shutting_down" "This host is shutting down.",
    FunctionUnreachable = SERVICE_UNAVAILABLE "function_unreachable" "The nodes that hold the function did not give it; try again.",
    NotInStep = SERVICE_UNAVAILABLE "not_in_step" "This host's ledger is not yet as far as its peers'.",
    WallTime = GATEWAY_TIMEOUT "wall_time" "The run took longer than this host gives one; nothing is billed.",
}
