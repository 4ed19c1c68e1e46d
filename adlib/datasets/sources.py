# ruff: noqa: E501 (a checksum and its path belong on one line)
"""Public collections: where they come from, under which licence, and how to trust a file.

A file is fetched only if its SHA-256 is known here. The sums of the data files were computed from
copies of the collections; that of NAB's ``combined_windows.json`` (at the pinned commit) was taken
from several independent public records of it. Files without a sum are refused, not trusted: put a
copy into the folder that ``ADLIB_DATA`` names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from adlib.arguments import path as as_path


@dataclass(frozen=True)
class Collection:
    """One public collection of data sets.

    Attributes
    ----------
    name : str
        Name of its folder below ``ADLIB_DATA``.
    title, origin, licence : str
        What to cite.
    commit : str
        Commit of the public repository that files are fetched from.
    url : str
        Address of the folder of that commit that corresponds to the local one.
    sums : str
        Lines of SHA-256 and path.
    """

    name: str
    title: str
    origin: str
    licence: str
    commit: str
    url: str
    sums: str

    @property
    def source(self) -> str:
        """One line for ``Dataset.source``."""
        return f"{self.title}, {self.origin} at {self.commit[:12]}, {self.licence}"

    @cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 by path, for every file that may be fetched."""
        return {path: sha for sha, path in (line.split(" ", 1) for line in self.sums.split("\n"))}

    def folder(self, root: str | os.PathLike | None) -> Path | None:
        """The local folder: below ``root``, else below ``ADLIB_DATA`` if there is one."""
        if root is not None:
            folder = as_path(root, "root") / self.name
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"no folder {folder}: root must hold a folder {self.name!r}"
                )
            return folder
        home = os.environ.get("ADLIB_DATA")
        folder = Path(home) / self.name if home else None
        return folder if folder is not None and folder.is_dir() else None

    def paths(self, root: str | os.PathLike | None, pattern: str) -> list[str]:
        """Paths that can be loaded: those of the local folder, else those with a checksum."""
        if (folder := self.folder(root)) is not None:
            return sorted(p.relative_to(folder).as_posix() for p in folder.glob(pattern))
        return sorted(p for p in self.checksums if Path(p).match(pattern))

    def file(self, path: str, root: str | os.PathLike | None) -> Path:
        """The local file, or the fetched and verified one."""
        folder = self.folder(root)
        if folder is not None and (folder / path).is_file():
            return folder / path
        if root is not None:
            raise FileNotFoundError(f"no file {path!r} in {folder}")
        if path not in self.checksums:
            raise FileNotFoundError(
                f"{self.name}: {path!r} is neither below ADLIB_DATA nor among the "
                f"{len(self.checksums)} files whose checksum is known, so it is not fetched"
            )
        import pooch

        url = f"{self.url}/{path}"
        try:
            fetched = pooch.retrieve(
                url,
                known_hash=f"sha256:{self.checksums[path]}",
                fname=path.replace("/", "__"),
                path=pooch.os_cache("adlib") / self.name,
            )
        except OSError as error:  # what requests raises derives from it
            raise ConnectionError(
                f"could not fetch {url} ({type(error).__name__}); "
                f"put a copy into the folder {self.name!r} below ADLIB_DATA"
            ) from error
        return Path(fetched)


NAB = Collection(
    name="nab",
    title="Numenta Anomaly Benchmark",
    origin="github.com/numenta/NAB (Lavin and Ahmad 2015)",
    licence="MIT",
    commit="ea702d75cc2258d9d7dd35ca8e5e2539d71f3140",
    url="https://raw.githubusercontent.com/numenta/NAB/ea702d75cc2258d9d7dd35ca8e5e2539d71f3140",
    sums="""\
ccb7743ac2de8ca110db4af796d11ba31a23ad448a28e353a935c15f637756bc data/artificialNoAnomaly/art_daily_no_noise.csv
1cc10761ddd6d55fb5f0d9cfc73610416abbb120ee14bb65eff288509a463397 data/artificialNoAnomaly/art_flatline.csv
ad455adeaf06852222500955f2aefe6bd389cc762ef68e7102ee543209c8607f data/artificialNoAnomaly/art_noisy.csv
f79f92b93ee4f9c10e2dc552505e8880b0c618639ed5e0f9816e044b75c26456 data/artificialWithAnomaly/art_daily_jumpsup.csv
65c85d1834376ed5e622f01721d478609577ea0df0a067c5a5ebe5edea03b077 data/artificialWithAnomaly/art_daily_nojump.csv
8942e498de7b40f1b4a6d802755592c09b8fb73ce8f658763a09cb9ea1ea94ac data/realAWSCloudwatch/ec2_cpu_utilization_53ea38.csv
01613e6f632d067f11a5dfd40a188b0789752b388d9bc77a398bd06333878a76 data/realAWSCloudwatch/ec2_cpu_utilization_5f5533.csv
d768419037c9db269343822957314f57ee21a7d9a4d41df2add0d1ba45ba84de data/realAWSCloudwatch/ec2_cpu_utilization_825cc2.csv
749a15c2e1a4543c21fee9cbf3338cd8a7ed5f5f8a1308b9b099b06c2c66e66b data/realAWSCloudwatch/ec2_cpu_utilization_ac20cd.csv
d936cea74682ed43ac96b778352d7de294c0b0c168f4a7e6817162346cdb28c1 data/realAWSCloudwatch/ec2_cpu_utilization_c6585a.csv
f3433f8171f4dcea86c0c7af9996d0f166f812fa0f4567f1d5cd85d2d2cd69b4 data/realAWSCloudwatch/ec2_cpu_utilization_fe7f93.csv
a0e734a66098bb81833835f0839dadafbc8ae829c51494670ee8849e46eb5b63 data/realAWSCloudwatch/ec2_disk_write_bytes_c0d644.csv
f115fbe6542159eed5612445bfa620708a28ab6b41349d1432bb15c3a3b8414d data/realAWSCloudwatch/iio_us-east-1_i-a2eb1cd9_NetworkIn.csv
d5df979ef85928769a016cd0f935919d8c2a113926e21e1eb3a5001d688760e2 data/realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv
d869ab165254f3ee77ee21fd9fab2be1d07c1f80b8133cf01bbaf2d768c2ac64 data/realAdExchange/exchange-2_cpc_results.csv
1f01b9438566d2fe1ac446faa202a395ac86db9240a1955bc1f118c8eada2a19 data/realAdExchange/exchange-2_cpm_results.csv
4e5c955b632145b77b93fba4a5e3bf615d47e00416e17091d64e05ae109c760e data/realAdExchange/exchange-4_cpm_results.csv
58ba65dc0737cfbac11b51514476d50c438d44011232144bb8d93f392df58f9f data/realKnownCause/cpu_utilization_asg_misconfiguration.csv
98378580aa80157e057c61d59d81daddccc6c65a2c0c800e3f01f603b8215c3f data/realKnownCause/ec2_request_latency_system_failure.csv
92bf5b87fc7f9bba8ca0b7ec63ccaac8cb4a1371a258e8c29a10ae9c018d82a4 data/realKnownCause/machine_temperature_system_failure.csv
9797cfef477c13306f7a33874ab4d6cf700f8f2c7e5825a2a5bc02004370909a data/realKnownCause/rogue_agent_key_updown.csv
5663a8122a300360eb51fbbd0f21706da05af1af55262926d6a226bb6d071704 data/realTraffic/occupancy_t4013.csv
7976e7596cd1e579696c737576e96a26fe041484472ed7d0a463ce2b094d7aa7 data/realTraffic/speed_6005.csv
fa5532d6f7db36cadc73e657fd4dfef05cb1ec44d4010243b314d3f1bbd6a7b5 data/realTraffic/speed_t4013.csv
e7133bf26479623d58fc7367107aea1cd7df6020420dece48b0eee4d26cdb28a data/realTweets/Twitter_volume_CRM.csv
a7096bd646759486bda6796b5600cd33a4590f0842bf274ea7acba001b3ba591 data/realTweets/Twitter_volume_FB.csv
f3aa8157043c6569911031535bd1f7a73b428b5a2d95238d79b9d5b88ceebbd2 data/realTweets/Twitter_volume_KO.csv
18d2804d6a5dae63fe711baaba9242dce38a32bfade3dcdee1d8a7c1a866e41b data/realTweets/Twitter_volume_PFE.csv
be50f06bbb9d020f37653c8c5cf19af63f77aa0019d8cf10849d91f4af455af4 data/realTweets/Twitter_volume_UPS.csv
1e1fbc4601321aad8d0f8b3784c8134299379f68f6c1f7777565f8ffd57ab6b1 labels/combined_windows.json""",
)

ADBENCH = Collection(
    name="adbench",
    title="ADBench",
    origin="github.com/Minqi824/ADBench (Han et al. 2022)",
    licence="BSD-2-Clause for the collection, each set has its own origin",
    commit="f7fed68dea6901fe9a81ed51b251b1d2456790cd",
    url="https://raw.githubusercontent.com/Minqi824/ADBench/f7fed68dea6901fe9a81ed51b251b1d2456790cd/adbench/datasets/Classical",
    sums="""\
945a097c3542ae81a551bf1c06dcad78a755d94f84fcaf1d60687e42d1a656df 10_cover.npz
ec27301f9a4cf7c5d8b22c360cf37ddb043b7fb062465723dfd8b34e2771e5dd 12_fault.npz
4a87a2f7d8013e5bfde63294fae61ec7a612322de72f338a7f9491749025ad98 15_Hepatitis.npz
9d98710091551587f4740cfc851a6b064fff6319a337c2dc77ee6da4bcc2e02c 16_http.npz
bca46cb0cfd1bf9ddef6cde5ad2215d54fb0189508d0d4c4eb98e788cad69001 18_Ionosphere.npz
792d0b5bd1147bfc9574a1974f157b39fbd4cbed8ecd04cf983fd554498ed477 1_ALOI.npz
dad977b04f4ea65b78ccd0e9f76b45175bad605165b37e63f3cc177845e67037 21_Lymphography.npz
0be375984d7af9ea7a63b12206c240840d8b7daa3607021c5fb8756407dd86f1 22_magic.gamma.npz
be7706272325fdd3592c1be555ae1a82f916a2f8545f4f8cbaa548ab102cc44c 24_mnist.npz
60de17a375a278ba220a7849727d998aa02b5e2f9fd17732a004bba28de4656e 26_optdigits.npz
1f048f5686f1b8c16a227fdfa3c81a62cd9a92715714a6b24c69b1c5ad96b46e 30_satellite.npz
1b056e357f801b8b20c3f380a30224a3c4088d7ed764ec5a24828dc9b1918d6f 31_satimage-2.npz
d02aa01ffc1b6bf2b8b1ac250c90e8a8eacd0cefc962940ed5cc4bf5deac9c95 33_skin.npz
99fe739447284f613fa54bf2dccdb51c5120175ce6260adec6dad77576c42509 37_Stamps.npz
8de161b3f235b7647bb0b39a836d983ff61d67bf234edac461da2d71e889cb87 38_thyroid.npz
4bfc4244d1c882773bbbc50d4a5db5e52276e53506e46b2d45e02d074cfcb1b6 40_vowels.npz
78d4606a1ab516f5b60b00c196497f3bbd6bd5e4548fd04cf5f2475209b34b85 43_WDBC.npz
c70b72aa611ec87b20efb400943ef3ce4f8bf7aa58fcef825fbd28cc5cee3cc9 44_Wilt.npz
68a6d67242643855713bcdad07d89ecc472bd00000dccc17ba87916eb2693d19 46_WPBC.npz
4f37ce07dbc25ddad8178fdc6d664ab46d2d0000ee28c2787c3c7ff3c03ef9f6 4_breastw.npz
74dd4d0072d6c6f1aabab63bc102f9633454f32bb936fa9bcfbd38f9f2386bcd 5_campaign.npz
5ae84910430f05923e11b6f537243263977c9136949dabd891e3570aeec51e29 7_Cardiotocography.npz""",
)

SKAB = Collection(
    name="skab",
    title="Skoltech Anomaly Benchmark",
    origin="github.com/waico/SKAB (Katser and Kozitsin 2020)",
    licence="GPL-3.0",
    commit="b2c0d46c2971dcbfe71e26087b6d231998bb91c2",
    url="https://raw.githubusercontent.com/waico/SKAB/b2c0d46c2971dcbfe71e26087b6d231998bb91c2/data",
    sums="""\
7641a8742957100ef424dd97adfb3eeab27d4d180645fe2b3c49b7f7146ae9a6 anomaly-free/anomaly-free.csv
72683644f6f17689f619076a66a9ec02cbc0502bd669924c4c33951d1bdad9b0 other/10.csv
b0882efbcf2669223ae78bee61c9f10074a9b2375f0e86b8957ae5ce4aad1e72 other/12.csv
951c326bf36366fa7615b8f28d22f80b3878036069a690f42b3e223737a6a8d1 other/2.csv
56ca23f4eb61d1347d079eb9a35c60a59b8b64e160c00dd0c2ec69e0df0b2a4b other/4.csv
eb8f05622a62c855040ea358b87be35fb1a4a3720ba0610569bab384db4b6e04 other/6.csv
12c138ed99c198e0a7ece886fe01bfd16bbdde206fad6c5d74322b6b9d6488d0 other/8.csv
16af3f71313a23dd33d9b7b8065d836d05c3f9257588881cc7fbe07c076d9dc8 valve1/0.csv
ee16be8e4b870c779491e3d1dc9e0ecbfaf29eb013e032abff7a33f2cbbfe2ad valve1/10.csv
90adfa9bc86d4556e6a4ce734436fd5685af79c189cd9828f8df75a7f468ce07 valve1/12.csv
5f0bb9bc33c5e6c259263e32e25915c4d24c82b0a94554d48808626da05c1d71 valve1/14.csv
90492413469261886c8896c327241448df5da73fd7739cabfec8dd82de3c0ce4 valve1/2.csv
983aed9dc09991a57911091373c580e1b86d06aa983cd51678f108fd8d709654 valve1/4.csv
97469c0e0c9c0e0ee5d30794f1f36c6785df5816a112a8b16c59637e8c894685 valve1/6.csv
0c4afb92248b5b35b4c9d734a91ed8318346901f04579074903730569e60416c valve1/8.csv
a6670e7a68c7c6ba62c649bd9d350633e80db624578e9529f2b736ced5e32bde valve2/0.csv
2c3005cf28b88db715b7f4694e826ff252cba4dbb1eba679b040961f80477e60 valve2/2.csv""",
)

COLLECTIONS = {c.name: c for c in (NAB, ADBENCH, SKAB)}


def card(name: str) -> str:
    """Origin, licence and state of the checksums of a public collection.

    Parameters
    ----------
    name : {"nab", "adbench", "skab"}

    Returns
    -------
    str

    Raises
    ------
    ValueError
        When there is no collection of that name.

    Examples
    --------
    >>> print(card("nab"))
    Numenta Anomaly Benchmark
    origin:  github.com/numenta/NAB (Lavin and Ahmad 2015)
    licence: MIT
    commit:  ea702d75cc2258d9d7dd35ca8e5e2539d71f3140
    fetched: 30 files with a known SHA-256; others are read from a local folder only
    """
    if not isinstance(name, str) or name not in COLLECTIONS:
        raise ValueError(f"name must be one of {sorted(COLLECTIONS)}, got {name!r}")
    c = COLLECTIONS[name]
    return (
        f"{c.title}\norigin:  {c.origin}\nlicence: {c.licence}\ncommit:  {c.commit}\n"
        f"fetched: {len(c.checksums)} files with a known SHA-256; others are read from a local "
        "folder only"
    )
