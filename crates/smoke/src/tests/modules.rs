//! What inline modules import, through import maps and without.

use crate::tests::mixed_content::Table;
use crate::tests::mixed_content::holds;

const IMPORT: &[&str] = &["blocked_asset script"];
const MAPPED: &[&str] = &["blocked_asset script[type=importmap]"];

pub(super) const IMPORTS: Table = &[
    ("<script type=module>import 'http://x.test/a.js'</script>", IMPORT),
    ("<script type=module>import a, {b as c} from 'http://x.test/a.js'</script>", IMPORT),
    ("<script type=module>import * as a from \"http://x.test/a.js\"</script>", IMPORT),
    ("<script type=module>export * from 'http://x.test/a.js'</script>", IMPORT),
    ("<script type=module>export {a} from 'http://x.test/a.js'</script>", IMPORT),
    ("<script type=module>export * as a from 'http://x.test/a.js'</script>", IMPORT),
    ("<script type=module>import 'http:\\/\\/x.test/a.js'</script>", IMPORT),
    ("<script type=module>import a from 'http://x.test/a.css' with {type: 'css'}</script>", IMPORT),
    ("<script type=module>import a from 'http://x.test/a.json' with {type: 'json'}</script>", IMPORT),
    ("<script type=module>let a = /'/; import 'http://x.test/a.js'</script>", IMPORT),
    ("<base href=http://x.test/><script type=module>import './a.js'</script>", IMPORT),
    ("<svg><script type=module>import 'http://x.test/a.js'</script></svg>", IMPORT),
    ("<div><template shadowrootmode=open><script type=module>import 'http://x.test/a.js'</script></template></div>", IMPORT),
    ("<template><script type=module>import 'http://x.test/a.js'</script></template>", &[]),
    ("<script type=module>let a = `import 'http://x.test/a.js'`, b = \"import 'http://x.test/b.js'\"</script>", &[]),
    ("<script type=module>/* import 'http://x.test/a.js' */ // import 'http://x.test/b.js'</script>", &[]),
    ("<script type=module>let a = /import 'http:..x.test.a.js'/</script>", &[]),
    ("<script type=module>import 'http://x.test/a.js'; let a = </script>", &[]),
    ("<script type=module>if (1) {import 'http://x.test/a.js'}</script>", &[]),
    ("<script type=module><!-- x\nimport 'http://x.test/a.js'</script>", &[]),
    ("<script type=module src=''>import 'http://x.test/a.js'</script>", &[]),
    ("<script type=' module '>import 'http://x.test/a.js'</script>", &[]),
    ("<script>import 'http://x.test/a.js'</script>", &[]),
    ("<script type=module>import 'a'</script>", &[]),
];

pub(super) const IMPORT_MAPS: Table = &[
    (
        "<script type=importmap>{\"imports\":{\"a\":\"http://x.test/a.js\",\"b\":\"http://x.test/b.js\"}}</script>\
         <script type=module>import 'a'</script>",
        MAPPED,
    ),
    ("<script type=importmap>{\"imports\":{\"a/\":\"http://x.test/d/\"}}</script><script type=module>import 'a/e.js'</script>", MAPPED),
    (
        "<script type=importmap>{\"imports\":{\"https://site.test/dir/a.js\":\"http://x.test/a.js\"}}</script>\
         <script type=module>import './a.js'</script>",
        MAPPED,
    ),
    (
        "<script type=importmap>{\"imports\":{\"a\":\"/a.js\"},\"scopes\":{\"/dir/\":{\"a\":\"http://x.test/a.js\"}}}</script>\
         <script type=module>import 'a'</script>",
        MAPPED,
    ),
    (
        "<script type=importmap>{\"imports\":{\"a\":\"/a.js\"},\"scopes\":{\"/other/\":{\"a\":\"http://x.test/a.js\"}}}</script>\
         <script type=module>import 'a'</script>",
        &[],
    ),
    (
        "<script type=importmap>{\"imports\":{\"a\":\"/a.js\"}}</script>\
         <script type=importmap>{\"imports\":{\"a\":\"http://x.test/a.js\"}}</script><script type=module>import 'a'</script>",
        &[],
    ),
    (
        "<script type=importmap>{\"imports\":{\"a\":\"/a.js\"}}</script>\
         <script type=importmap>{\"imports\":{\"b\":\"http://x.test/a.js\"}}</script><script type=module>import 'b'</script>",
        MAPPED,
    ),
    ("<script type=module>import 'a'</script><script type=importmap>{\"imports\":{\"a\":\"http://x.test/a.js\"}}</script>", &[]),
    (
        "<script type=importmap>{\"imports\":{\"http://x.test/\":\"/v/\"}}</script>\
         <script type=module>import 'http://x.test/a.js'</script>",
        &[],
    ),
    (
        "<script type=importmap>{\"imports\":{\"http://x.test/b\":null}}</script>\
         <script type=module>import 'http://x.test/b'</script>",
        &[],
    ),
    ("<script type=importmap>{\"imports\":[]}</script><script type=module>import 'http://x.test/a.js'</script>", IMPORT),
    ("<script type=importmap>{\"imports\":{\"a\":\"http://x.test/a.js\"}</script><script type=module>import 'a'</script>", &[]),
    (
        "<iframe srcdoc='<script type=importmap>{\"imports\":{\"a\":\"http://x.test/a.js\"}}</script>\
         <script type=module>import \"a\"</script>'></iframe>",
        &["blocked_asset iframe[srcdoc] script[type=importmap]"],
    ),
];

#[test]
fn modules_ask_for_what_they_import() {
    holds(IMPORTS);
}

#[test]
fn import_maps_say_what_names_stand_for() {
    holds(IMPORT_MAPS);
}
