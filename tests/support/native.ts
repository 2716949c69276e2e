/** Opens the C library outside of any test, where the resource sanitizer takes it for a leak. */

import { libc } from "../../ffi/libc.ts";

libc();
