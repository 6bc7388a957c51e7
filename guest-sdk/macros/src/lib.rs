//! The `#[talea::handler]` attribute.
//!
//! Owns: the shape of a handler and the export. Invariants: the function is left as it is, so that
//! tests call it; every mistake in its shape is one message at the place of the mistake. Absent:
//! types; they are checked where the expansion hands the function to `talea::private::run`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, ReturnType};

/// See `talea::handler`.
#[proc_macro_attribute]
pub fn handler(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    expand(&arguments.into(), item.clone())
        .unwrap_or_else(|error| {
            // The item stays, so that one mistake is one message.
            let error = error.into_compile_error();
            quote! { #error #item }
        })
        .into()
}

fn expand(arguments: &TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    if !arguments.is_empty() {
        return Err(Error::new(arguments.span(), "#[talea::handler] takes no arguments"));
    }
    let function: ItemFn = syn::parse2(item.clone())
        .map_err(|_| Error::new(item.span(), "#[talea::handler] goes on a function"))?;
    check_shape(&function)?;

    let name = &function.sig.ident;
    // Errors about the type show at the function's own signature.
    let place = match &function.sig.output {
        ReturnType::Type(_, returned) => returned.span(),
        ReturnType::Default => name.span(),
    };
    let call = quote_spanned! {place=> ::talea::private::run(#name) };
    Ok(quote! {
        #function

        const _: () = {
            // The one `unsafe` an author does not see: a module has one `talea_handle`.
            #[allow(unsafe_code, dead_code)]
            #[cfg_attr(target_family = "wasm", unsafe(export_name = "talea_handle"))]
            extern "C" fn talea_handle() -> i32 {
                #call
            }
        };
    })
}

fn check_shape(function: &ItemFn) -> Result<(), Error> {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        return Err(Error::new(
            token.span(),
            "a handler is not async: a function has nothing to wait for",
        ));
    }
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        return Err(Error::new(
            signature.generics.span(),
            "a handler has no generic parameters: the node calls exactly one function",
        ));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new(
            abi.span(),
            "a handler is a plain fn: the attribute makes the export",
        ));
    }
    let one_request = "a handler takes one argument, the `talea::Request`";
    let mut inputs = signature.inputs.iter();
    match (inputs.next(), inputs.next()) {
        (Some(FnArg::Typed(_)), None) => {}
        (Some(receiver @ FnArg::Receiver(_)), _) => {
            return Err(Error::new(receiver.span(), one_request));
        }
        (_, Some(second)) => return Err(Error::new(second.span(), one_request)),
        (None, None) => return Err(Error::new(signature.ident.span(), one_request)),
    }
    if matches!(signature.output, ReturnType::Default) {
        return Err(Error::new(
            signature.ident.span(),
            "a handler returns a `talea::Response` or a `Result<talea::Response, E>`",
        ));
    }
    Ok(())
}
