// SPDX-License-Identifier: GPL-2.0
//! What disks hold: images made by the real tools, and blkid's opinion of them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::common::{adopted, crc, geometry, mib, uuid};
use proptest::prelude::*;
use restripe_core::geometry::{MemberId, Physical, Sectors};
use restripe_core::ondisk::{
    encode, encode_signature, superblock_places, Signature, SUPERBLOCK_SIZE,
};
use restripe_core::probe::{
    adopt_check, new_member_check, probe, Blocks, Content, Kind, UNIT_SIZE,
};
use restripe_core::shape::with_witness;
use restripe_core::text::{Errno, Refusal};

/// A sparse file that stands for a disk.
struct Image {
    path: PathBuf,
    file: File,
}

impl Image {
    fn new(name: &str, bytes: u64) -> Image {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.img"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .expect("a file for the image");
        file.set_len(bytes).expect("a sparse file of that size");
        Image { path, file }
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).expect("room in the file");
    }

    /// Runs a tool; IMG stands for the image.
    fn run(&self, line: &str) -> String {
        self.run_with(line, "")
    }

    fn run_with(&self, line: &str, input: &str) -> String {
        let path = self.path.to_str().expect("a plain path");
        let mut words = line.split(' ').map(|w| if w == "IMG" { path } else { w });
        let program = words.next().expect("a program");
        let mut child = Command::new(program)
            .args(words)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; install e2fsprogs xfsprogs btrfs-progs dosfstools util-linux fdisk gdisk cryptsetup-bin"));
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("the tool reads");
        drop(stdin);
        let out = child.wait_with_output().expect("the tool ends");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        // blkid says 2 where it finds nothing.
        assert!(
            out.status.success() || (program == "blkid" && out.status.code() == Some(2)),
            "{line}: {text}{}",
            String::from_utf8_lossy(&out.stderr)
        );
        text
    }

    fn probe(&self) -> Content {
        let sectors = Sectors::from_bytes(self.file.metadata().expect("a file").len());
        let mut blocks = Disk {
            file: &self.file,
            sectors,
        };
        probe(&mut blocks, &mut [0; UNIT_SIZE]).expect("a file can be read")
    }

    /// blkid's TYPE, or PTTYPE where there is none.
    fn blkid(&self) -> String {
        self.run("blkid -p -o value -s TYPE -s PTTYPE IMG")
            .trim()
            .to_string()
    }

    #[track_caller]
    fn expect(&self, kind: Kind, blkid: &str, end: Option<u64>) {
        assert_eq!(self.blkid(), blkid);
        let content = self.probe();
        assert_eq!(content.kind, kind);
        assert_eq!(content.second, None);
        assert_eq!(content.data_end.map(Sectors::bytes), end);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

struct Disk<'a> {
    file: &'a File,
    sectors: Sectors,
}

impl Blocks for Disk<'_> {
    fn sectors(&self) -> Sectors {
        self.sectors
    }

    fn read(&mut self, at: Physical, buf: &mut [u8]) -> Result<(), Errno> {
        assert_eq!(at.0 % 8, 0, "reads are of whole logical blocks");
        assert!(
            at.0 + (buf.len() as u64 >> 9) <= self.sectors.0,
            "reads end at the disk's end"
        );
        self.file
            .read_exact_at(buf, at.0 << 9)
            .map_err(|_| Errno::EIO)
    }
}

const M: u64 = 1 << 20;

#[test]
fn blank_and_unknown_are_told_apart() {
    let image = Image::new("blank", 64 * M + 512);
    image.expect(Kind::Blank, "", None);
    for at in [0, 5000, 131071, 64 * M - 130000, 64 * M + 511] {
        let image = Image::new("unknown", 64 * M + 512);
        image.put(at, b"?");
        image.expect(Kind::Unknown, "", None);
    }
    // Too small for anything, and no reads where nothing is.
    for bytes in [0, 512, 4096, 65536] {
        Image::new("tiny", bytes).expect(Kind::Blank, "", None);
    }
}

#[test]
fn ext_of_every_kind_and_size() {
    for (kind, blkid, line, size) in [
        (Kind::Ext4, "ext4", "mkfs.ext4 -q IMG", 64 * M),
        (
            Kind::Ext4,
            "ext4",
            "mkfs.ext4 -q -b 1024 IMG 20000",
            20000 * 1024,
        ),
        (
            Kind::Ext4,
            "ext4",
            "mkfs.ext4 -q -b 4096 IMG 10001",
            10001 * 4096,
        ),
        (
            Kind::Ext4,
            "ext4",
            "mkfs.ext4 -q -O ^64bit,^metadata_csum IMG 50M",
            50 * M,
        ),
        (
            Kind::Ext4,
            "ext4",
            "mkfs.ext4 -q -O bigalloc -C 65536 IMG",
            64 * M,
        ),
        (Kind::Ext3, "ext3", "mkfs.ext3 -q IMG", 64 * M),
        (
            Kind::Ext2,
            "ext2",
            "mkfs.ext2 -q -b 2048 IMG 3000",
            3000 * 2048,
        ),
    ] {
        let image = Image::new("ext", 64 * M);
        image.run(line);
        image.expect(kind, blkid, Some(size));
    }
    // More blocks than 32 bits hold, which mkfs would take long for.
    let image = Image::new("ext-large", 64 * M);
    image.run("mkfs.ext4 -q -O 64bit -b 4096 IMG 16384");
    image.put(1024 + 336, &2u32.to_le_bytes());
    let end = image.probe().data_end.map(|end| end.bytes());
    assert_eq!(end, Some(((2 << 32) + 16384) * 4096));
}

#[test]
fn xfs_ends_at_its_blocks() {
    for (line, size) in [
        ("mkfs.xfs -q IMG", 512 * M),
        ("mkfs.xfs -q -d size=400m IMG", 400 * M),
        (
            "mkfs.xfs -q -b size=1024 -d size=314573824 IMG",
            307201 * 1024,
        ),
    ] {
        let image = Image::new("xfs", 512 * M);
        image.run(line);
        image.expect(Kind::Xfs, "xfs", Some(size));
    }
}

#[test]
fn btrfs_ends_where_its_device_does() {
    for (line, size) in [
        ("mkfs.btrfs -q IMG", 256 * M),
        ("mkfs.btrfs -q -b 200m IMG", 200 * M),
    ] {
        let image = Image::new("btrfs", 256 * M);
        image.run(line);
        image.expect(Kind::Btrfs, "btrfs", Some(size));
    }
    // Over two devices: of this one it uses what this one has.
    let (image, other) = (
        Image::new("btrfs-a", 256 * M),
        Image::new("btrfs-b", 300 * M),
    );
    let path = other.path.to_str().expect("a plain path");
    image.run(&format!("mkfs.btrfs -q -d single -m raid1 IMG {path}"));
    image.expect(Kind::Btrfs, "btrfs", Some(256 * M));
    other.expect(Kind::Btrfs, "btrfs", Some(300 * M));
}

#[test]
fn swap_ends_at_its_last_page() {
    for (line, size) in [
        ("mkswap IMG", 64 * M),
        ("mkswap -p 65536 IMG", 64 * M),
        ("mkswap IMG 32768", 32 * M),
    ] {
        let image = Image::new("swap", 64 * M);
        image.run(line);
        image.expect(Kind::Swap, "swap", Some(size));
    }
}

#[test]
fn fat_of_every_width() {
    for line in [
        "mkfs.vfat -F 12 -C IMG 4096",
        "mkfs.vfat -F 16 -C IMG 32768",
        "mkfs.vfat -F 32 -C IMG 65536",
    ] {
        let image = Image::new("fat", 0);
        fs::remove_file(&image.path).expect("it was made just now");
        image.run(line);
        let image = Image {
            path: image.path.clone(),
            file: File::open(&image.path).expect("made"),
        };
        let kib: u64 = line
            .rsplit(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        image.expect(Kind::Fat, "vfat", Some(kib * 1024));
    }
}

#[test]
fn luks_does_not_say_where_it_ends() {
    for line in [
        "cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-file /dev/stdin IMG",
        "cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /dev/stdin IMG",
    ] {
        let image = Image::new("luks", 64 * M);
        image.run_with(line, "secret");
        image.expect(Kind::Luks, "crypto_LUKS", None);
    }
}

#[test]
fn gpt_ends_behind_its_copy() {
    let image = Image::new("gpt", 64 * M);
    image.run("sgdisk -n 1:2048:+10M -n 2:0:+20M IMG");
    image.expect(Kind::Gpt, "gpt", Some(64 * M));
    // Half of it gone: the copy at the end is enough.
    image.put(512, &[0; 512]);
    let content = image.probe();
    assert_eq!((content.kind, content.data_end), (Kind::Gpt, Some(mib(64))));
    // All of it gone: the protective MBR says only that there was one.
    image.put(64 * M - 512, &[0; 512]);
    let content = image.probe();
    assert_eq!((content.kind, content.data_end), (Kind::Gpt, None));
}

#[test]
fn gpt_that_is_damaged_is_not_believed() {
    let image = Image::new("gpt-damaged", 64 * M);
    image.run("sgdisk -n 1:2048:+10M IMG");
    // A smaller last usable block, without the CRC for it: the copy is right.
    image.put(512 + 48, &4096u64.to_le_bytes());
    assert_eq!(image.probe().data_end, Some(mib(64)));
    let image = Image::new("gpt-beyond", 64 * M);
    image.run("sgdisk -n 1:2048:+10M IMG");
    image.put(1024 + 40, &(100 * M / 512).to_le_bytes());
    let end = image.probe().data_end.map(Sectors::bytes);
    assert_eq!(
        end,
        Some(100 * M + 512 + 33 * 512),
        "a partition ends behind the table's end"
    );
}

#[test]
fn gpt_can_be_made_to_leave_room() {
    let image = Image::new("gpt-short", 64 * M);
    let g = geometry(mib(64), true);
    image.run_with("sfdisk -q IMG", "label: gpt\nsize=40M\n");
    let refusal =
        adopt_check("vda", &image.probe(), &g, None, false).expect_err("it reaches to the end");
    assert_eq!(refusal.errno, Errno::ENOSPC);
    assert!(refusal.to_string().contains("sfdisk --dump"), "{refusal}");
    // What the sentence says to do.
    let last: u64 = refusal
        .to_string()
        .split_once("last-lba to ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .expect("a number to type");
    let dump = image.run("sfdisk --dump IMG");
    let old = dump
        .lines()
        .find(|line| line.starts_with("last-lba:"))
        .expect("a header");
    let new = dump.replace(old, &format!("last-lba: {last}"));
    image.run_with("sfdisk -q IMG", &new);
    let volume = adopt_check("vda", &image.probe(), &g, None, false).expect("it leaves room");
    assert_eq!(volume, g.data_len);
    assert_eq!(image.blkid(), "gpt");
}

#[test]
fn mbr_ends_behind_its_last_partition() {
    let image = Image::new("mbr", 64 * M);
    image.run_with("sfdisk -q IMG", "label: dos\n2048,10M\n,20M,E\n,5M,L\n");
    image.expect(Kind::Mbr, "dos", Some(36 * M));
}

#[test]
fn a_filesystem_left_under_a_table_is_seen() {
    let image = Image::new("two", 256 * M);
    image.run("mkfs.btrfs -q -b 200m IMG");
    image.run("sgdisk -n 1:2048:+10M IMG");
    let content = image.probe();
    assert_eq!(
        (content.kind, content.second),
        (Kind::Btrfs, Some(Kind::Gpt))
    );
    assert_eq!(content.data_end, Some(mib(256)));
    let g = geometry(mib(512), true);
    let refusal = adopt_check("vda", &content, &g, None, false).expect_err("which of them?");
    assert!(refusal.to_string().contains("Btrfs and a GPT"), "{refusal}");
    assert_eq!(
        adopt_check("vda", &content, &g, Some(mib(256)), false),
        Ok(mib(256))
    );
}

/// As lvm2 writes it; blkid agrees.
#[test]
fn an_lvm_physical_volume_says_its_size() {
    let image = Image::new("lvm", 64 * M);
    let mut label = [0u8; 512];
    label[..8].copy_from_slice(b"LABELONE");
    label[8] = 1;
    label[20] = 32;
    label[24..32].copy_from_slice(b"LVM2 001");
    label[32..64].copy_from_slice(b"01234567890123456789012345678901");
    label[64..72].copy_from_slice(&(60 * M).to_le_bytes());
    let sum = lvm_crc(&label[20..]);
    label[16..20].copy_from_slice(&sum.to_le_bytes());
    image.put(512, &label);
    image.expect(Kind::Lvm, "LVM2_member", Some(60 * M));
}

fn lvm_crc(bytes: &[u8]) -> u32 {
    let mut crc = 0xf597_a6cfu32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    crc
}

/// As md writes it, in each of its places; blkid agrees.
#[test]
fn md_members_of_every_version() {
    let sectors = 64 * M / 512;
    for (at, end) in [
        (0u64, 2048 + 100_000),
        (8, 2048 + 100_000),
        ((sectors - 16) & !7, sectors - 8),
    ] {
        let image = Image::new("md1", 64 * M);
        let mut sb = [0u8; 4096];
        sb[..4].copy_from_slice(&0xa92b_4efcu32.to_le_bytes());
        sb[4] = 1;
        sb[16..32].copy_from_slice(&uuid(3).0);
        sb[128..136].copy_from_slice(&2048u64.to_le_bytes());
        sb[136..144].copy_from_slice(&100_000u64.to_le_bytes());
        sb[144..152].copy_from_slice(&at.to_le_bytes());
        sb[220] = 1; // max_dev
        let sum = md_sum(&sb[..258]);
        sb[216..220].copy_from_slice(&sum.to_le_bytes());
        image.put(at * 512, &sb);
        // In the last case the superblock itself is what comes last.
        let end = end.max(at + 8);
        image.expect(Kind::Md, "linux_raid_member", Some(end * 512));
    }
    let image = Image::new("md0", 64 * M + 3 * 512);
    let at = 64 * M - 65536;
    image.put(at, &0xa92b_4efcu32.to_le_bytes());
    image.put(at + 8, &90u32.to_le_bytes());
    image.expect(Kind::Md, "linux_raid_member", Some(64 * M));
}

/// md's sum of 32-bit words, the last one of which may be half.
fn md_sum(sb: &[u8]) -> u32 {
    let mut sum = 0u64;
    for word in sb.chunks(4) {
        let mut le = [0u8; 4];
        le[..word.len()].copy_from_slice(word);
        sum += u64::from(u32::from_le_bytes(le));
    }
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

/// Known by a magic number alone; blkid agrees where it asks for no more.
#[test]
fn other_signatures_are_known() {
    let bcache = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
    let bcachefs = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";
    for (kind, at, magic) in [
        (Kind::Bcache, 4096 + 24, &bcache[..]),
        (Kind::Bcachefs, 4096 + 24, &bcachefs[..]),
        (
            Kind::Zfs,
            128 * 1024 + 4096,
            &0x00ba_b10cu64.to_le_bytes()[..],
        ),
        (Kind::Zfs, 255 * 1024, &0x00ba_b10cu64.to_be_bytes()[..]),
    ] {
        let image = Image::new("magic", 64 * M);
        image.put(at, magic);
        assert_eq!(image.probe().kind, kind);
    }
    let image = Image::new("iso", 64 * M);
    image.put(32768, b"\x01CD001\x01");
    image.put(32768 + 80, &1000u32.to_le_bytes());
    image.put(32768 + 128, &2048u16.to_le_bytes());
    image.expect(Kind::Iso, "iso9660", Some(1000 * 2048));
    let image = Image::new("ntfs", 64 * M);
    image.put(3, b"NTFS    ");
    image.put(11, &512u16.to_le_bytes());
    image.put(40, &(30 * M / 512 - 1).to_le_bytes());
    image.put(510, b"\x55\xaa");
    let content = image.probe();
    assert_eq!(
        (content.kind, content.data_end),
        (Kind::Ntfs, Some(mib(30)))
    );
}

#[test]
fn restripe_knows_its_own() {
    let mut bytes = vec![0; SUPERBLOCK_SIZE];
    encode(&adopted(), MemberId(0), &mut bytes, crc);
    for place in superblock_places(mib(64)).expect("large enough") {
        // Torn or whole: it is still nobody else's.
        for flip in [0, 1] {
            bytes[9000] ^= flip;
            let image = Image::new("own", 64 * M);
            image.run("mkfs.ext4 -q IMG 40M");
            image.put(place.0 << 9, &bytes);
            let content = image.probe();
            assert!(content.is_member);
            // What it would be if that volume were not needed.
            assert_eq!(
                (content.kind, content.data_end),
                (Kind::Ext4, Some(mib(40)))
            );
        }
    }
    let image = Image::new("signature", 64 * M);
    let mut block = [0; 4096];
    let signature = Signature {
        volume: uuid(1),
        member: uuid(2),
    };
    encode_signature(&signature, &mut block, crc);
    image.put(0, &block);
    assert!(image.probe().is_member);
    image.expect(Kind::Unknown, "", None);
}

#[track_caller]
fn refused<T: core::fmt::Debug>(got: Result<T, Refusal>, errno: Errno, words: &[&str]) {
    let refusal = got.expect_err("it should be refused");
    assert_eq!(refusal.errno, errno, "{refusal}");
    for word in words {
        assert!(
            refusal.to_string().contains(word),
            "\"{refusal}\" lacks {word:?}"
        );
    }
}

fn content(kind: Kind, end: Option<Sectors>) -> Content {
    Content {
        kind,
        data_end: end,
        ..Content::default()
    }
}

#[test]
fn a_volume_is_as_large_as_the_data() {
    let g = geometry(mib(64), true);
    let ext4 = |end| content(Kind::Ext4, Some(end));
    assert_eq!(
        adopt_check("vda", &ext4(mib(40)), &g, None, false),
        Ok(mib(40))
    );
    assert_eq!(
        adopt_check("vda", &ext4(mib(40) + Sectors(2)), &g, None, false),
        Ok(mib(40) + Sectors(8))
    );
    assert_eq!(
        adopt_check("vda", &ext4(mib(62)), &g, None, false),
        Ok(mib(62))
    );
    assert_eq!(
        adopt_check("vda", &ext4(mib(40)), &g, Some(mib(50)), false),
        Ok(mib(50))
    );
    assert_eq!(
        adopt_check("vda", &content(Kind::Luks, None), &g, Some(mib(50)), false),
        Ok(mib(50))
    );
    assert_eq!(
        adopt_check("vda", &content(Kind::Blank, None), &g, Some(mib(50)), false),
        Ok(mib(50))
    );
}

#[test]
fn what_cannot_be_adopted_is_refused() {
    let g = geometry(mib(64), true);
    let ext4 = |end| content(Kind::Ext4, Some(end));
    let check = |content: &Content, size| adopt_check("vda", content, &g, size, false);
    // 64 MiB of data, of which 2 MiB are the reserve's.
    refused(
        check(&ext4(mib(64)), None),
        Errno::ENOSPC,
        &["vda", "2097152 bytes more", "resize2fs"],
    );
    refused(
        check(&ext4(mib(62) + Sectors(1)), None),
        Errno::ENOSPC,
        &["4096 bytes more"],
    );
    refused(
        check(&content(Kind::Xfs, Some(mib(64))), None),
        Errno::ENOSPC,
        &["XFS can't shrink"],
    );
    refused(
        check(&ext4(mib(40)), Some(mib(63))),
        Errno::ENOSPC,
        &["1048576 bytes more"],
    );
    refused(
        check(&ext4(mib(40)), Some(mib(39))),
        Errno::EINVAL,
        &["size=40894464", "41943040"],
    );
    refused(
        check(&ext4(mib(65)), None),
        Errno::EUCLEAN,
        &["behind the device's end"],
    );
    refused(
        check(&content(Kind::Unknown, None), None),
        Errno::EINVAL,
        &["unknown kind", "give size="],
    );
    refused(
        check(&content(Kind::Luks, None), None),
        Errno::EINVAL,
        &["LUKS", "give size="],
    );
    refused(
        check(&Content::default(), None),
        Errno::EINVAL,
        &["nothing", "create"],
    );
}

/// With a witness all of the disk is room, but for what no superblock can lie behind.
#[test]
fn a_witness_takes_whole_blocks() {
    let whole = with_witness(&geometry(mib(64), true));
    let ext4 = content(Kind::Ext4, Some(mib(64)));
    let size = adopt_check("vda", &ext4, &whole, None, false);
    assert_eq!(size, Ok(mib(64)));
    let odd = mib(64) + Sectors(3);
    let whole = with_witness(&geometry(odd, true));
    for kind in [Kind::Ext4, Kind::Gpt] {
        refused(
            adopt_check("vda", &content(kind, Some(odd)), &whole, None, false),
            Errno::ENOSPC,
            &["vda has 1536 bytes", "shrink it"],
        );
    }
}

#[test]
fn a_member_is_adopted_only_by_force() {
    let g = geometry(mib(64), true);
    let member = Content {
        is_member: true,
        ..content(Kind::Ext4, Some(mib(40)))
    };
    for size in [None, Some(mib(40))] {
        refused(
            adopt_check("vda", &member, &g, size, false),
            Errno::EEXIST,
            &["vda", "assemble", "force=1"],
        );
        assert_eq!(adopt_check("vda", &member, &g, size, true), Ok(mib(40)));
    }
    // Force is for that and nothing else.
    refused(
        adopt_check("vda", &member, &g, Some(mib(39)), true),
        Errno::EINVAL,
        &["size=40894464"],
    );
    refused(
        new_member_check("vdb", &member, false),
        Errno::EEXIST,
        &["vdb", "restripe", "force=1"],
    );
    assert_eq!(new_member_check("vdb", &member, true), Ok(()));
}

#[test]
fn a_new_member_with_something_known_needs_force() {
    let ext4 = content(Kind::Ext4, Some(mib(40)));
    refused(
        new_member_check("vdb", &ext4, false),
        Errno::EEXIST,
        &["vdb", "ext4", "force=1"],
    );
    assert_eq!(new_member_check("vdb", &ext4, true), Ok(()));
    assert_eq!(new_member_check("vdb", &Content::default(), false), Ok(()));
    assert_eq!(
        new_member_check("vdb", &content(Kind::Unknown, None), false),
        Ok(())
    );
}

/// A disk of few bytes in memory.
struct Bytes(Vec<u8>);

impl Blocks for Bytes {
    fn sectors(&self) -> Sectors {
        Sectors::from_bytes(self.0.len() as u64)
    }

    fn read(&mut self, at: Physical, buf: &mut [u8]) -> Result<(), Errno> {
        let at = (at.0 << 9) as usize;
        buf.copy_from_slice(&self.0[at..at + buf.len()]);
        Ok(())
    }
}

struct Broken;

impl Blocks for Broken {
    fn sectors(&self) -> Sectors {
        mib(64)
    }

    fn read(&mut self, _: Physical, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EIO)
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_no_blank_one() {
    assert_eq!(probe(&mut Broken, &mut [0; UNIT_SIZE]), Err(Errno::EIO));
}

const MAGICS: &[(usize, &[u8])] = &[
    (1080, b"\x53\xef"),
    (0, b"XFSB"),
    (65600, b"_BHRfS_M"),
    (1024, b"\x10\x20\xf5\xf2"),
    (3, b"NTFS    "),
    (3, b"EXFAT   "),
    (510, b"\x55\xaa"),
    (54, b"FAT"),
    (32769, b"CD001"),
    (4086, b"SWAPSPACE2"),
    (0, b"LUKS\xba\xbe"),
    (512, b"LABELONE"),
    (536, b"LVM2 001"),
    (512, b"EFI PART"),
    (0, b"\xfc\x4e\x2b\xa9\x01\0\0\0"),
];

proptest! {
    /// Whatever stands behind the magics: no panic, no overflow.
    #[test]
    fn arbitrary_content_never_panics(
        seed in prop::collection::vec(any::<u8>(), 4096),
        sectors in 0..600usize,
        magics in prop::collection::vec(0..MAGICS.len(), 0..4),
        fill in prop_oneof![Just(None), any::<u8>().prop_map(Some)],
    ) {
        let mut bytes: Vec<u8> = seed.iter().copied().cycle().take(sectors * 512).collect();
        if let Some(fill) = fill {
            bytes.fill(fill);
        }
        for magic in magics {
            let (at, magic) = MAGICS[magic];
            if at + magic.len() <= bytes.len() {
                bytes[at..at + magic.len()].copy_from_slice(magic);
            }
        }
        let content = probe(&mut Bytes(bytes), &mut [0; UNIT_SIZE]).expect("memory can be read");
        let g = geometry(mib(64), true);
        if let Ok(volume) = adopt_check("vda", &content, &g, None, false) {
            prop_assert!(volume <= g.data_len);
        }
    }
}
