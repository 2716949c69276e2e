/** The domain in a file that libvirt saved, whatever becomes of its stream. */

import { MappedFile } from "../../ffi/mapped_file.ts";
import { stampImage } from "../file_stamp.ts";
import { ImageError } from "../image_error.ts";
import { type LibvirtSave, readLibvirtSave } from "./libvirt_save.ts";

/**
 * Reads what libvirt wrote of a domain, also where the stream behind it is packed.
 *
 * @param path the file's name
 * @throws {ImageError} when libvirt did not write it, or not all of it
 */
export async function readDomain(path: string): Promise<LibvirtSave> {
  const { size } = await stampImage(path);
  if (size > 0) {
    using file = MappedFile.open(path, size);
    const save = readLibvirtSave(path, file);
    if (save !== undefined) return save;
  }
  throw new ImageError(
    "unsupported",
    path,
    "No XML in a file that libvirt did not save",
    "name one of virsh save or virsh managedsave",
  );
}
