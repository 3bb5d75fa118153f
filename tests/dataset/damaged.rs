//! Damage is told by how git ends and by what it can read, not by its words: here git speaks a language that nobody knows.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::world::World;
use crate::world::executable;
use crate::world::newest_git;

/// A git each of whose words is another; names of objects stay, and so do the answers that are made for programs.
fn in_no_language(world: &World) -> String {
    let program = world.path("git");
    let script = format!(
        "#!/bin/bash\nscramble() {{ sed 's/[g-zG-Z]/q/g'; }}\n\
         case \" $* \" in *' fsck '*) {git} \"$@\" 2>&1 | scramble; exit \"${{PIPESTATUS[0]}}\" ;; esac\n\
         {{ {git} \"$@\" 2>&1 >&3 | scramble >&2; exit \"${{PIPESTATUS[0]}}\"; }} 3>&1\n",
        git = world.git
    );
    std::fs::write(&program, script).unwrap();
    executable(&program);
    program.display().to_string()
}

/// The file of a loose object.
fn loose(world: &World, name: &str) -> PathBuf {
    let object = world.run(&world.dir(), &["rev-parse", name]);
    let file = world.dir().join(".git/objects").join(&object[..2]).join(&object[2..]);
    // What was cloned is in a pack until then.
    if !file.exists() {
        let packs = world.dir().join(".git/objects/pack");
        let moved = world.path("moved");
        std::fs::rename(&packs, &moved).unwrap();
        std::fs::create_dir(&packs).unwrap();
        for pack in std::fs::read_dir(&moved).unwrap().flatten().filter(|file| file.path().extension().is_some_and(|e| e == "pack")) {
            let pack = std::fs::File::open(pack.path()).unwrap();
            assert!(world.command(&world.dir(), &["unpack-objects", "-q"]).stdin(pack).status().unwrap().success());
        }
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    file
}

/// The file of the only pack that ends so.
fn packed(world: &World, end: &str) -> PathBuf {
    world.run(&world.dir(), &["gc", "-q"]);
    let mut files = std::fs::read_dir(world.dir().join(".git/objects/pack")).unwrap().flatten().map(|file| file.path());
    let file = files.find(|file| file.extension().is_some_and(|e| e == end)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    file
}

fn cut(file: PathBuf) {
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::File::options().write(true).open(file).unwrap().set_len(length / 2).unwrap();
}

fn overwrite(file: PathBuf) {
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].fill(b'x');
    std::fs::write(file, bytes).unwrap();
}

fn refer(world: &World, name: &str, to: &str) {
    std::fs::write(world.dir().join(".git/refs/heads").join(name), to).unwrap();
}

/// A kind of damage, how it is done, and whether the repository must make way for a new clone.
type Kind = (&'static str, fn(&World), bool);

const KINDS: &[Kind] = &[
    ("a file's object is rubbish", |world| std::fs::write(loose(world, "main:a"), "rubbish").unwrap(), true),
    ("a file's object is empty", |world| std::fs::write(loose(world, "main:a"), "").unwrap(), true),
    ("a file's object is gone", |world| std::fs::remove_file(loose(world, "main:a")).unwrap(), true),
    ("a tree is rubbish", |world| std::fs::write(loose(world, "main~1^{tree}"), "rubbish").unwrap(), true),
    ("a tree is gone", |world| std::fs::remove_file(loose(world, "main^{tree}")).unwrap(), true),
    ("a commit is empty", |world| std::fs::write(loose(world, "main~1"), "").unwrap(), true),
    ("a commit is gone", |world| std::fs::remove_file(loose(world, "main~1")).unwrap(), true),
    ("a pack is cut off", |world| cut(packed(world, "pack")), true),
    ("a pack is overwritten", |world| overwrite(packed(world, "pack")), true),
    ("a pack's index is cut off", |world| cut(packed(world, "idx")), true),
    ("a branch leads nowhere", |world| refer(world, "other", &"1234567890".repeat(4)), true),
    ("the index is rubbish", |world| std::fs::write(world.dir().join(".git/index"), "rubbish").unwrap(), false),
    ("nothing at all", |_| {}, false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_damage_is_told_without_a_word() {
    for git in ["/usr/bin/git".to_owned(), newest_git()] {
        for (kind, damage, makes_way) in KINDS {
            let mut world = World::new(&git);
            world.elsewhere("later", "l");
            world.ready().await;
            damage(&world);
            let program = in_no_language(&world);
            world.set(|settings| {
                settings.git.program = program;
                settings.git.confine = tagalong::config::Confine::Never;
            });
            let ready = world.ready().await;
            assert_eq!(ready.aside.len(), usize::from(*makes_way), "{kind}, {git}: {ready:?}");
            let told = ready.healed.join(" ");
            assert!(!["missing", "error", "fatal"].iter().any(|word| told.contains(word)), "git's words were not scrambled: {told}");
            world.assert_same();
        }
    }
}

/// What git finds odd, and says so by its status each time, is no damage: nobody would ever get rid of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_objects_are_no_damage() {
    for git in ["/usr/bin/git".to_owned(), newest_git()] {
        let world = World::new(&git);
        let other = world.other();
        let tree = world.run(&other, &["rev-parse", "main^{tree}"]);
        let commit = format!("tree {tree}\nparent {}\nauthor A <a@b> soon +0000\ncommitter A <a@b> 1 +0000\n\nodd\n", world.remote_tip());
        std::fs::write(world.path("commit"), commit).unwrap();
        let file = world.path("commit").display().to_string();
        let odd = world.run(&other, &["hash-object", "-w", "-t", "commit", "--literally", &file]);
        world.run(&other, &["push", "-q", "origin", &format!("{odd}:refs/heads/main")]);
        for _ in 0..2 {
            let ready = world.ready().await;
            assert_eq!(ready.aside.len(), 0, "{git}: {ready:?}");
            assert_eq!(ready.head.map(|head| head.to_string()), Some(odd.clone()));
        }
        assert!(!world.try_run(&world.dir(), &["fsck", "--no-reflogs"]), "{git} finds nothing odd in it");
    }
}
