"""What histories of chance reach too seldom, brought about directly.

For each planted defect of which that is so (``UNSEEN`` in ``tests/test_planted.py``) a scenario that fails with it, and
holds without; see ``tests/test_rare.py``.
"""
