/** A certificate authority of one's own, made with the openssl command: for tests and benchmarks. */

/** What a certificate is to say. */
export interface Issue {
  /** For openssl's `-subj`, in the order in which the parts are stored; default `/O=tests/CN=NAME`. */
  readonly subject?: string;
  /** Its subjectAltName, default both loopback addresses and `localhost`. */
  readonly names?: string;
  /** Its extendedKeyUsage, for example `"serverAuth"`; absent: it has none. */
  readonly purpose?: string;
  /** The first and last second, as `20200101000000Z`; default from 2020 to 2120. */
  readonly from?: string;
  readonly to?: string;
  /** Whether it is an authority's. */
  readonly authority?: boolean;
}

/** Runs openssl. */
export async function runOpenssl(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args, stdout: "null" }).output();
  if (!success) throw new Error(`openssl ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

/** An authority and what it has issued, in a directory that goes with it. */
export class Authority implements AsyncDisposable {
  /** Where `ca-cert.pem` is. */
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Makes one; `extensions` for what an authority should not say. */
  static async make(
    {
      from = "20200101000000Z",
      to = "21200101000000Z",
      extensions = "basicConstraints=critical,CA:TRUE",
    }: {
      readonly from?: string;
      readonly to?: string;
      readonly extensions?: string;
    } = {},
  ): Promise<Authority> {
    const made = new Authority(await Deno.makeTempDir());
    await made.#configure();
    await made.#key("ca");
    await made.#request("ca", "/CN=authority", extensions);
    await made.#sign("ca", from, to, ["-selfsign"]);
    return made;
  }

  /** The path of one of its files. */
  path(file: string): string {
    return `${this.directory}/${file}`;
  }

  /** Issues `NAME-cert.pem` with `NAME-key.pem`. */
  async issue(name: string, issue: Issue = {}): Promise<void> {
    const {
      subject = `/O=tests/CN=${name}`,
      names = "DNS:localhost,IP:127.0.0.1,IP:::1",
      from = "20200101000000Z",
      to = "21200101000000Z",
    } = issue;
    const extensions = [`subjectAltName=${names}`];
    if (issue.purpose !== undefined) extensions.push(`extendedKeyUsage=${issue.purpose}`);
    if (issue.authority) extensions.push("basicConstraints=critical,CA:TRUE");
    await this.#key(name);
    await this.#request(name, subject, ...extensions);
    await this.#sign(name, from, to, []);
  }

  /** Takes a certificate back, and writes `ca-crl.pem` anew. */
  async revoke(name: string): Promise<void> {
    await this.#ca("-revoke", this.path(`${name}-cert.pem`));
    await this.writeRevocations();
  }

  /** Writes `ca-crl.pem`. */
  async writeRevocations(...args: string[]): Promise<void> {
    await this.#ca("-gencrl", "-out", this.path("ca-crl.pem"), ...args);
  }

  async #configure(): Promise<void> {
    const at = this.directory;
    await Deno.writeTextFile(
      this.path("ca.conf"),
      [
        "[ca]\ndefault_ca=d\n[d]",
        `database=${at}/index.txt\nnew_certs_dir=${at}\nrand_serial=yes\ncrlnumber=${at}/crlnumber`,
        `certificate=${at}/ca-cert.pem\nprivate_key=${at}/ca-key.pem\ndefault_md=sha256`,
        "policy=p\nunique_subject=no\ncopy_extensions=copyall\ndefault_crl_days=30",
        "email_in_dn=yes\n[p]\ncommonName=optional\n[req]\ndistinguished_name=n\n[n]\n",
      ].join("\n"),
    );
    await Deno.writeTextFile(this.path("index.txt"), "");
    await Deno.writeTextFile(this.path("crlnumber"), "01\n");
  }

  async #key(name: string): Promise<void> {
    const path = this.path(`${name}-key.pem`);
    const curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    await runOpenssl("genpkey", ...curve, "-out", path);
    await Deno.chmod(path, 0o600);
  }

  async #request(name: string, subject: string, ...extensions: string[]): Promise<void> {
    const key = this.path(`${name}-key.pem`);
    const added = extensions.filter((text) => text !== "").flatMap((text) => ["-addext", text]);
    const config = ["-config", this.path("ca.conf"), "-multivalue-rdn", "-utf8"];
    const out = ["-out", this.path(`${name}.csr`)];
    await runOpenssl("req", "-new", ...config, "-key", key, "-subj", subject, ...added, ...out);
  }

  async #sign(name: string, from: string, to: string, args: readonly string[]): Promise<void> {
    const files = ["-in", this.path(`${name}.csr`), "-out", this.path(`${name}-cert.pem`)];
    const time = ["-startdate", from, "-enddate", to];
    await this.#ca("-batch", "-notext", "-preserveDN", ...files, ...time, ...args);
  }

  async #ca(...args: string[]): Promise<void> {
    await runOpenssl("ca", "-config", this.path("ca.conf"), ...args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.directory, { recursive: true });
  }
}
