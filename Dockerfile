# The image that goes to the portal, and in which this checkout scores what one left.
#   docker build --tag disentanglement-submission .
# `python docker/portal.py build` does the same, fills in the revision, and notes the image as this checkout's.

ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS packages
RUN python3 -m venv /opt/venv
ENV PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all: PIP_PROGRESS_BAR=off
COPY requirements.txt /tmp/
RUN /opt/venv/bin/pip install --require-hashes --no-deps --requirement /tmp/requirements.txt
# Empty takes PyPI's build, for NVIDIA GPUs. https://download.pytorch.org/whl/cpu holds the one without CUDA,
# which is gigabytes smaller.
ARG TORCH_INDEX=
COPY requirements-torch.txt /tmp/
RUN /opt/venv/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --requirement /tmp/requirements-torch.txt
# What nothing here runs: C++ headers, tests, TensorFlow's libclang, pip. (numpy.testing does read a module
# of numpy/_core/tests. The CUDA build of PyTorch comes without torch/test.)
RUN /opt/venv/bin/pip uninstall --yes pip libclang \
 && cd /opt/venv/lib/python3*/site-packages \
 && rm -rf tensorflow/include torch/include torch/test \
 && find torch/bin -type f -not -name torch_shm_manager -delete \
 && find . -type d -name tests -not -path './numpy/_core/*' -prune -exec rm -r {} + \
 && /opt/venv/bin/python -c 'import matplotlib, numba, numpy.testing, onnxruntime, pandas, sklearn, tensorflow, torch'

# What reached the package index stays behind: a token in its address, or wheels, would ship in a layer.
FROM ${BASE_IMAGE} AS clean
RUN rm -rf /etc/pip.conf /etc/xdg/pip /root/.config/pip /root/.pip /root/.netrc /root/.cache ${PIP_FIND_LINKS:-}

# From nothing, since an image can't take back the environment and the layers of the one that it is built on.
FROM scratch
COPY --from=clean / /
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
RUN groupadd --gid 1001 aicrowd \
 && useradd --uid 1001 --gid aicrowd --create-home --shell /bin/bash aicrowd \
 && install --directory --owner aicrowd --group aicrowd \
      /home/aicrowd/scratch /home/aicrowd/scratch/shared /home/aicrowd/scratch/dataset
COPY --from=packages /opt/venv /opt/venv
# On a GPU, torch.compile has Triton build its launchers with a C compiler and Python's headers. The build of
# PyTorch without CUDA has no Triton.
RUN if /opt/venv/bin/python -c 'import triton' 2>/dev/null; then \
      headers=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
      test -f "$headers/Python.h" || more=libpython3-dev; \
      apt-get update -qq \
   && apt-get install --yes -qq --no-install-recommends gcc libc6-dev ${more:-} >/dev/null \
   && rm -rf /var/lib/apt/lists/*; \
    fi
# The portal's root file system may be read-only: what is made at run time goes to /tmp.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib XDG_CACHE_HOME=/tmp/cache \
    TRITON_CACHE_DIR=/tmp/triton \
    NDC_ROOT=/home/aicrowd AICROWD_IS_GRADING=1
WORKDIR /home/aicrowd
COPY run.sh aicrowd.json ./
COPY gin gin
COPY submission submission
COPY evaluator evaluator
# A clone made under a strict umask has files that no other user can read.
RUN chmod -R a+rX run.sh aicrowd.json gin submission evaluator \
 && python -m compileall -q submission evaluator
USER aicrowd
# Healthy: the run's output can be written, and its data set read.
HEALTHCHECK --interval=1m --timeout=10s --start-period=1m \
  CMD test -w "${AICROWD_OUTPUT_PATH:-scratch/shared}" && test -r "${DISENTANGLEMENT_LIB_DATA:-scratch/dataset}"
ENTRYPOINT ["/home/aicrowd/run.sh"]
# Last, since it changes with each commit.
ARG REVISION=unknown
ENV GIT_REVISION=${REVISION}
LABEL org.opencontainers.image.title="disentanglement-submission" \
      org.opencontainers.image.description="Trains and scores disentangled representations as the NeurIPS 2019 Disentanglement Challenge did" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}"
