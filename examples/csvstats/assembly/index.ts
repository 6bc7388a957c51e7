// Statistics of a CSV file's numeric columns, as JSON. POST the file; `?column=` picks one column
// by name. Written in AssemblyScript from the page host-api/ABI.md alone.

// @ts-ignore: decorator
@external("talea", "input_len")
declare function input_len(field: i32): i32;
// @ts-ignore: decorator
@external("talea", "input_read")
declare function input_read(field: i32, ptr: usize, off: u32, len: u32): i32;
// @ts-ignore: decorator
@external("talea", "output_status")
declare function output_status(code: i32): i32;
// @ts-ignore: decorator
@external("talea", "output_header")
declare function output_header(name: usize, nameLen: u32, value: usize, valueLen: u32): i32;
// @ts-ignore: decorator
@external("talea", "output_write")
declare function output_write(ptr: usize, len: u32): i32;
// @ts-ignore: decorator
@external("talea", "log")
declare function log(level: i32, ptr: usize, len: u32): i32;

const BODY = 0;
const QUERY = 3;
const COMMA: u8 = 44;
const NEWLINE: u8 = 10;
const RETURN: u8 = 13;

class Column {
  count: i32 = 0;
  min: f64 = Infinity;
  max: f64 = -Infinity;
  mean: f64 = 0;
  // Sum of squared distances from the mean so far (Welford): no digits are lost on large values.
  spread: f64 = 0;

  constructor(public name: string) {}

  add(value: f64): void {
    this.count++;
    this.min = Math.min(this.min, value);
    this.max = Math.max(this.max, value);
    const before = value - this.mean;
    this.mean += before / <f64>this.count;
    this.spread += before * (value - this.mean);
  }

  json(): string {
    const deviation = this.count > 1 ? Math.sqrt(this.spread / <f64>(this.count - 1)) : 0;
    return '{"column":' + quoted(this.name) + ',"count":' + this.count.toString()
      + ',"min":' + this.min.toString() + ',"max":' + this.max.toString()
      + ',"mean":' + this.mean.toString() + ',"deviation":' + deviation.toString() + "}";
  }
}

export function talea_handle(): i32 {
  const bytes = input(BODY);
  const wanted = parameter(text(input(QUERY)), "column=");
  const columns: Column[] = [];
  let row = 0;
  for (let at = 0; at < bytes.length; row++) {
    for (let index = 0; ; index++) {
      let end = at;
      while (end < bytes.length && bytes[end] != COMMA && bytes[end] != NEWLINE) end++;
      const last = end >= bytes.length || bytes[end] == NEWLINE;
      const stop = last && end > at && bytes[end - 1] == RETURN ? end - 1 : end;
      if (row == 0) {
        columns.push(new Column(text(bytes.subarray(at, stop))));
      } else if (index < columns.length) {
        const value = number(bytes, at, stop);
        if (!isNaN(value)) columns[index].add(value);
      }
      at = end + 1;
      if (last) break;
    }
  }
  const found: string[] = [];
  for (let i = 0; i < columns.length; i++) {
    const chosen = wanted.length == 0 || columns[i].name == wanted;
    if (chosen && columns[i].count > 0) found.push(columns[i].json());
  }
  say(2, (row > 0 ? row - 1 : 0).toString() + " rows, " + columns.length.toString() + " columns");
  if (found.length == 0) {
    return answer(422, "text/plain", "no such column of numbers\n");
  }
  return answer(200, "application/json", "[" + found.join(",\n ") + "]\n");
}

// A decimal number that fills the field, or NaN: "12 t" and "2026-01-02" are not numbers.
function number(bytes: Uint8Array, from: i32, to: i32): f64 {
  let at = from;
  const negative = at < to && bytes[at] == 45;
  if (negative) at++;
  let digits = 0;
  let mantissa: f64 = 0;
  let scale: f64 = 1;
  let fraction = false;
  for (; at < to; at++) {
    const byte = bytes[at];
    if (byte == 46 && !fraction) {
      fraction = true;
    } else if (byte >= 48 && byte <= 57) {
      mantissa = mantissa * 10 + <f64>(byte - 48);
      if (fraction) scale *= 10;
      digits++;
    } else {
      return NaN;
    }
  }
  if (digits == 0) return NaN;
  return (negative ? -mantissa : mantissa) / scale;
}

function parameter(query: string, name: string): string {
  const parts = query.split("&");
  for (let i = 0; i < parts.length; i++) {
    if (parts[i].startsWith(name)) return parts[i].substring(name.length);
  }
  return "";
}

function quoted(name: string): string {
  return '"' + name.replaceAll("\\", "\\\\").replaceAll('"', '\\"') + '"';
}

function input(field: i32): Uint8Array {
  const bytes = new Uint8Array(input_len(field));
  input_read(field, bytes.dataStart, 0, bytes.length);
  return bytes;
}

function text(bytes: Uint8Array): string {
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

function answer(status: i32, type: string, body: string): i32 {
  const name = String.UTF8.encode("content-type");
  const value = String.UTF8.encode(type);
  const bytes = String.UTF8.encode(body);
  if (output_status(status) < 0) return 2;
  if (output_header(changetype<usize>(name), name.byteLength, changetype<usize>(value), value.byteLength) < 0) return 2;
  return output_write(changetype<usize>(bytes), bytes.byteLength) < 0 ? 2 : 0;
}

function say(level: i32, message: string): void {
  const bytes = String.UTF8.encode(message);
  log(level, changetype<usize>(bytes), bytes.byteLength);
}

// Takes the place of the abort that the language would import from its host.
function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  say(0, (message ? message : "abort") + " at " + (file ? file : "?") + ":" + line.toString() + ":" + column.toString());
  unreachable();
}
