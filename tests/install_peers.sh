#!/usr/bin/env bash
# Installs the real peers that the tests talk to, where this machine lets us; says plainly what is missing otherwise.
# With CI=true a missing peer fails the tests that need it; without, those tests are skipped by name.
set -u
declare -A package=([Orthanc]=orthanc [storescu]=dcmtk [dcmdump]=dcmtk [dciodvfy]=dicom3tools [gdcmconv]=libgdcm-tools
  [openssl]=openssl [dieharder]=dieharder [ent]=ent [softhsm2-util]=softhsm2
  [mkfs.exfat]=exfatprogs [mount.exfat-fuse]=exfat-fuse
  [/usr/share/orthanc/plugins/libOrthancPython.so]=orthanc-python
  [/usr/share/orthanc/plugins/libOrthancDicomWeb.so]=orthanc-dicomweb)

missing() {
  for command in "${!package[@]}"; do
    [ -e "$command" ] || PATH="$PATH:/usr/sbin" command -v "$command" >/dev/null || echo "${package[$command]}"
  done | sort -u
}

wanted=$(missing)
[ -z "$wanted" ] && exit 0
as_root=""
[ "$(id -u)" -eq 0 ] || { sudo -n true 2>/dev/null && as_root="sudo -n"; }
if command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || [ -n "$as_root" ]; }; then
  echo "installing:" $wanted
  # RUNLEVEL=1: Debian must not start Orthanc as a service; the tests start their own
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
      apt-get install -y -qq --no-install-recommends $wanted >/dev/null
else
  echo "not installing Debian packages: apt-get and root (or sudo without a password) are needed"
fi
wanted=$(missing)
[ -z "$wanted" ] || echo "NOT INSTALLED, tests that need them cannot run:" $wanted
exit 0
